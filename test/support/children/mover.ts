// A worker that moves bytes between two managers of its own for as long as it lives, and says when they
// move. Data: { at }, where to listen.
import { parentPort, workerData } from 'node:worker_threads';
import { connect, listen } from '../../../lib/index.js';

const BYTES = 64 << 20;

const { at } = workerData as { at: string };
const server = await listen(at, { allowInsecure: true });
const connection = await connect(server.address, { allowInsecure: true });
const source = server.allocate(BYTES);
const target = connection.manager.allocate(BYTES);
const exposure = server.expose(source, { access: 'read', uses: Infinity, audience: { bearer: true } });
const remote = connection.remote(exposure);
let moved = 0;
for (;;) {
  await Promise.all([
    remote.resolve({ into: target }),
    remote.resolve({ range: { offset: 0, length: 1 << 20 } }).then((copy) => copy.release()),
  ]);
  if (++moved === 1) parentPort?.postMessage('moving');
}
