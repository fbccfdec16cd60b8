// A runtime with services in a thread and in a process, which may be busy for ever: for tests that end this process by force.
import { Runtime } from '../../../lib/runtime/index.js';
import { Probe } from '../../runtime/services/probe.js';

const { busy, module, folder } = JSON.parse(process.argv[2] ?? '{}') as Record<
  'module' | 'folder',
  string
> & {
  busy: boolean;
};
// Where it puts what is temporary.
process.env.TMPDIR = folder;
const runtime = await Runtime.start({
  security: { off: true },
  services: (['thread', 'process'] as const).map((host) => ({ name: host, module, host, partners: {} })),
});
const child = runtime.proxy(Probe, `${runtime.prefix}process`);
const { pid } = await child.pid();
if (busy) void child.end({ how: 'loop' }).catch(() => undefined);
process.send?.({ pid });
