// Heavy garbage collection while buffers, messages and transfers come and go; run with --expose-gc. Argument: { at },
// where to listen. Tells { leaks },
// { wrong: transfers with a wrong byte }, { external: external bytes after each round }.
import { connect, element, Envelope, listen } from '../../../lib/index.js';

const ROUNDS = 24;
const BYTES = 200_000;

declare const gc: () => void;

const { at } = JSON.parse(process.argv[2] ?? '{}') as { at: string };
const server = await listen(at, { allowInsecure: true });
const connection = await connect(server.address, { allowInsecure: true });
let leaks = 0;
let wrong = 0;
const external: number[] = [];
connection.manager.on('leak', () => leaks++);
server.on('leak', () => leaks++);

/** Garbage of every kind that the library leaves, and some of the test's own. */
async function round(number: number): Promise<void> {
  const sends = Array.from({ length: 10 }, async (_, index) => {
    const buffer = connection.manager.allocate(BYTES + index);
    buffer.bytes.fill(number + index);
    const body = element('', 'N', String(number + index));
    const sent = await connection.send(Envelope.of({ action: 'urn:x', body }), { buffers: [buffer] });
    buffer.release();
    await sent.released;
  });
  for (let i = 0; i < 10; i++) {
    gc();
    const { value: message } = await server.messages[Symbol.asyncIterator]().next();
    const transfer = message?.buffers[0]?.resolve();
    gc();
    const copy = await transfer;
    gc();
    const byte = Number(message?.envelope.body[0]?.text()) & 0xff;
    if (copy?.bytes.every((value) => value === byte) !== true) wrong++;
    copy?.release();
    message?.release();
  }
  await Promise.all(sends);
  gc();
  external.push(process.memoryUsage().external);
}

for (let number = 0; number < ROUNDS; number++) await round(number);

// A view that somebody keeps lives on without its RegisteredBuffer, and that is a leak to be told.
let view: Buffer | undefined = connection.manager.allocate(1000).bytes;
view.fill(9);
const leaksBefore = leaks;
while (leaks === leaksBefore) {
  gc();
  await new Promise((resolve) => setImmediate(resolve));
}
const intact = view.every((byte) => byte === 9);
view = undefined;
await connection.close();
await server.close();
process.send?.({ result: { leaksBefore, leaks, wrong, external, intact } }, () => process.disconnect());
