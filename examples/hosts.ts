// Two hosts for the demo: two network namespaces joined by a virtual cable where the user may make them, two processes on
// loopback otherwise. What is made here is removed when the process ends, however it ends short of SIGKILL.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import process from 'node:process';

/** Somewhere that a process can run. */
export interface Host {
  /** The address that the other host reaches it by. */
  readonly address: string;
  /** What a command line there begins with. */
  readonly prefix: readonly string[];
}

export interface Hosts {
  readonly far: Host;
  readonly near: Host;
  /** What they are, for people. */
  readonly description: string;
  /** Whether the way between them counts as beyond this host. */
  readonly separate: boolean;
}

/** Of the documentation's range: nobody has these, and nobody beyond the namespaces sees them. */
const FAR_ADDRESS = '198.51.100.1';
const NEAR_ADDRESS = '198.51.100.2';

const children = new Set<ChildProcess>();
const namespaces = new Set<string>();

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Ends what was started and removes what was made. Synchronous, because it runs while the process exits. */
function cleanUp(): void {
  for (const child of children) child.kill('SIGKILL');
  for (const name of namespaces) {
    try {
      // The cable goes with its ends.
      ip('netns', 'delete', name);
    } catch (error) {
      console.error(`The network namespace ${name} could not be removed: ${reasonOf(error)}`);
    }
  }
  namespaces.clear();
}

process.on('exit', cleanUp);
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

export function makeHosts(): Hosts {
  try {
    return makeNamespaces();
  } catch (error) {
    cleanUp();
    const loopback = { address: '127.0.0.1', prefix: [] };
    const why = `no network namespaces here: ${reasonOf(error)}`;
    return {
      far: loopback,
      near: loopback,
      description: `two processes on loopback (${why})`,
      separate: false,
    };
  }
}

function makeNamespaces(): Hosts {
  if (process.getuid?.() !== 0) throw new Error('that takes root');
  const names = [`splitplane-${process.pid}-far`, `splitplane-${process.pid}-near`] as const;
  for (const name of names) {
    ip('netns', 'add', name);
    namespaces.add(name);
  }
  const [far, near] = names;
  // A name of an interface has at most 15 characters.
  const cable = { far: `spf${process.pid}`, near: `spn${process.pid}` };
  ip('link', 'add', cable.far, 'netns', far, 'type', 'veth', 'peer', 'name', cable.near, 'netns', near);
  const ends = [
    [far, cable.far, FAR_ADDRESS],
    [near, cable.near, NEAR_ADDRESS],
  ] as const;
  for (const [name, device, address] of ends) {
    ip('-n', name, 'address', 'add', `${address}/30`, 'dev', device);
    ip('-n', name, 'link', 'set', device, 'up');
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
  const host = (name: string, address: string): Host => ({ address, prefix: ['ip', 'netns', 'exec', name] });
  return {
    far: host(far, FAR_ADDRESS),
    near: host(near, NEAR_ADDRESS),
    description: `two network namespaces, ${FAR_ADDRESS} and ${NEAR_ADDRESS}, joined by a veth pair`,
    separate: true,
  };
}

/** A node program on a host. It is ended with this process. */
export function start(host: Host, args: readonly string[]): ChildProcess {
  const [command = '', ...rest] = [...host.prefix, process.execPath, ...args];
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

function reasonOf(error: unknown): string {
  const { stderr, code, message } = error as { stderr?: Buffer; code?: string; message: string };
  if (code === 'ENOENT') return 'the command ip is missing (Debian: iproute2)';
  const [first = ''] = (stderr?.toString() ?? '').trim().split('\n');
  return first === '' ? message : first;
}
