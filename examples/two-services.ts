// Two services and a buffer between them: the message says what to do, and refers to 16 MiB that do not travel in it. Run it
// with `node dist/examples/two-services.js`; in a project of your own, import from 'splitplane'.
import { connect, element, Envelope, include, listen } from '../lib/index.js';

// One service waits for frames, reads what it needs of them, and answers.
const service = await listen('tcp://127.0.0.1:0');
const serving = (async () => {
  for await (const message of service.messages) {
    const frame = await message.buffer('frame')?.resolve(); // straight into registered memory
    const brightest = frame?.bytes.reduce((a, b) => Math.max(a, b)) ?? 0;
    frame?.release();
    await message.reply({
      action: 'urn:example:found',
      body: element('urn:example', 'Brightest', `${brightest}`),
    });
    message.release(); // the sender may have its buffer back
  }
})();

// The other sends one.
const connection = await connect(service.address);
const frame = connection.manager.allocate(16 << 20);
frame.bytes.fill(7).writeUInt8(200, 1_000_000);
const request = Envelope.of({
  action: 'urn:example:find',
  body: element('urn:example', 'Frame', include('frame')), // the body points at the buffer
});
const answer = await connection.request(request, { buffers: [{ buffer: frame, cid: 'frame' }] });
console.log(`The brightest pixel is ${answer.envelope.body[0]?.text()}.`);

answer.release();
frame.release();
await connection.close();
await service.close();
await serving;
