// Ends by itself: everything that was opened is closed, and nothing may keep the process alive. Argument: where to listen and how
// to end, { at, end: 'close' | 'destroy' | 'dispose' | 'nothing' }, `nothing` having opened no listener and no connection.
import { connect, element, Envelope, listen, NetworkManager } from '../../../lib/index.js';

const { at, end } = JSON.parse(process.argv[2] ?? '{}') as { at: string; end: string };

if (end === 'nothing') {
  const idle = new NetworkManager();
  idle.allocate(1000);
} else {
  const server = await listen(at, { allowInsecure: true });
  const connection = await connect(server.address, { allowInsecure: true });
  const buffer = connection.manager.allocate(100_000);
  await connection.send(Envelope.of({ action: 'urn:x', body: element('', 'A') }), { buffers: [buffer] });
  const { value: message } = await server.messages[Symbol.asyncIterator]().next();
  const copy = await message?.buffers[0]?.resolve();
  copy?.release();
  message?.release();
  if (end === 'close') {
    await connection.close();
    await server.close();
  } else if (end === 'dispose') {
    await connection[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  } else {
    connection.destroy();
    server.destroy();
  }
}
process.disconnect();
