// Heavy garbage collection while buffers, messages and transfers come and go; run with --expose-gc. Argument: { at: where
// to listen, rounds }. Tells { leaks },
// { wrong: transfers with a wrong byte }, { external: external bytes after each round }.
import { connect, element, Envelope, listen } from '../../../lib/index.js';

/** So much that what one round leaks shows. */
const BYTES = 1_000_000;

declare const gc: () => void;

const { at, rounds } = JSON.parse(process.argv[2] ?? '{}') as { at: string; rounds: number };
const server = await listen(at, { allowInsecure: true });
const connection = await connect(server.address, { allowInsecure: true });
const expected = Buffer.alloc(2 * BYTES);
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
    const sent = expected.subarray(0, copy?.length).fill(Number(message?.envelope.body[0]?.text()) & 0xff);
    if (copy?.bytes.equals(sent) !== true) wrong++;
    copy?.release();
    message?.release();
  }
  await Promise.all(sends);
  gc();
  external.push(process.memoryUsage().external);
}

for (let number = 0; number < rounds; number++) await round(number);

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
