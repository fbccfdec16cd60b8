// A listener of the user's throws, on every connection and every drain. Argument: { at }, where to listen. Tells { result: { thrown, received } }: how many uncaught
// exceptions there were, and the messages that arrived although they came in the same batches.
import { connect, element, Envelope, listen } from '../../../lib/index.js';

const MESSAGES = 50;

let thrown = 0;
process.on('uncaughtException', () => thrown++);

const { at } = JSON.parse(process.argv[2] ?? '{}') as { at: string };
const server = await listen(at, { allowInsecure: true, windowMessages: 4 });
server.on('connection', () => {
  throw new Error('a mistake of the user');
});
const connections = await Promise.all([1, 2, 3].map(() => connect(server.address, { allowInsecure: true })));
for (const connection of connections) {
  connection.on('close', () => {
    throw new Error('another');
  });
  for (let i = 0; i < MESSAGES; i++) {
    connection.send(Envelope.of({ action: 'urn:x', body: element('', 'N') })).catch(() => undefined);
  }
}
let received = 0;
for await (const message of server.messages) {
  message.release();
  if (++received === MESSAGES * connections.length) break;
}
await Promise.all(connections.map((connection) => connection.close()));
await server.close();
process.send?.({ result: { thrown, received } }, () => process.disconnect());
