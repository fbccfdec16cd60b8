// A service and whoever asks it, beside it and from another runtime: the same call, and the same 16 MiB by reference. Run it with
// `node dist/examples/two-runtimes.js`; in a project of your own, import from 'splitplane/runtime'.
import {
  body,
  buffer,
  contract,
  integer,
  Runtime,
  Service,
  Submit,
  type Handlers,
} from '../lib/runtime/index.js';

const Lens = contract('urn:example:lens:1', {
  operations: {
    find: Submit(body('Frame', { pixels: buffer() }), body('Found', { brightest: integer() })),
  },
});

class LensService extends Service<typeof Lens> {
  contract = Lens;
  handlers: Handlers<typeof Lens> = {
    find: async ({ body: { pixels } }) => {
      using frame = await pixels.resolve(); // the sender's own memory, or straight into ours
      return { brightest: frame.bytes.reduce((a, b) => Math.max(a, b)) };
    },
  };
}

const network = { listen: ['tcp://127.0.0.1:0'], allowInsecure: false };
await using home = await Runtime.start({ network, security: { off: true } }); // or from a manifest
const uri = await home.add(new LensService(), { name: 'lens' });
await using away = await Runtime.start({ network: { ...network, listen: [] }, security: { off: true } });

for (const runtime of [home, away]) {
  const pixels = runtime.allocate(16 << 20);
  pixels.bytes.fill(7).writeUInt8(200, 1_000_000);
  const { brightest } = await runtime.proxy(Lens, uri).find({ pixels }); // the buffer is the service's now
  console.log(`The brightest pixel is ${brightest}.`);
}
