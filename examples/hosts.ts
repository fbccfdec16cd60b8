// Two hosts for the demo: what they can do, and those that every machine has. `far` serves and `near` fetches, and all that the
// demo knows of either is its address and how to run a program there. Here they are two network namespaces joined by a
// virtual cable where the user may make them, two processes on loopback otherwise; laboratory.ts has hosts with RDMA. What is made
// here is removed when the process ends, however it ends short of SIGKILL.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** At run time this file is in dist/. */
export const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

export type HostName = 'far' | 'near';

/** A node program that runs on a host. */
export interface Program {
  /** The lines of its standard output, as they come, to the end. */
  readonly lines: AsyncIterableIterator<string>;
  /** Settles when it has ended; rejects unless it ended well. */
  readonly ended: Promise<unknown>;
  /** Asks it to end, as SIGTERM does. */
  end(): void;
}

/** What hosts are made of. */
export interface HostParts {
  /** What they are, for people. */
  readonly description: string;
  /** The transport between them. */
  readonly transport: 'tcp' | 'rdma';
  /** By which address `near` reaches `far`. */
  readonly address: string;
  /** Whether the way between them counts as beyond one host. */
  readonly separate: boolean;
  /** Whether their processors are emulated, and slow. */
  readonly emulated: boolean;
  /** Starts a program, a path in the project, with its argument. */
  launch(host: HostName, program: string, argument: string): Program;
  /** Gives back what they were made of. No program runs any more. */
  remove(): Promise<void>;
}

/** Two hosts and all that runs on them. */
export class Hosts {
  readonly parts: HostParts;
  readonly #programs = new Set<Program>();
  #closed: Promise<void> | undefined;

  constructor(parts: HostParts) {
    this.parts = parts;
  }

  /** Starts a program with an argument that goes there as JSON. */
  start(host: HostName, program: string, argument: unknown): Program {
    const started = this.parts.launch(host, program, JSON.stringify(argument));
    this.#programs.add(started);
    const forget = (): boolean => this.#programs.delete(started);
    started.ended.then(forget, forget);
    return started;
  }

  /** Ends what still runs, then removes the hosts. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    const left = [...this.#programs];
    for (const program of left) program.end();
    await Promise.allSettled(left.map(({ ended }) => ended));
    await this.parts.remove();
  }
}

/** Of the documentation's range: nobody has these, and nobody beyond the namespaces sees them. */
const FAR_ADDRESS = '198.51.100.1';
const NEAR_ADDRESS = '198.51.100.2';

const children = new Set<ChildProcess>();
const namespaces = new Set<string>();

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Synchronous, because it may run while the process exits. */
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

/** A node program of this machine, after what its command line begins with. */
function launch(prefix: readonly string[], program: string, argument: string): Program {
  const [command = '', ...rest] = [...prefix, process.execPath, `${PROJECT}${program}`, argument];
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = once(child, 'close').then(([code, signal]: (number | string | null)[]) => {
    children.delete(child);
    if (code !== 0) throw new Error(`${program} ended with ${signal ?? code}`);
  });
  ended.catch(() => undefined);
  return { lines, ended, end: () => void child.kill('SIGTERM') };
}

/** Two hosts of this machine. */
export function makeHosts(): Hosts {
  process.on('exit', cleanUp);
  const common = { transport: 'tcp', emulated: false, remove: () => Promise.resolve(cleanUp()) } as const;
  try {
    const names = makeNamespaces();
    return new Hosts({
      ...common,
      description: `two network namespaces, ${FAR_ADDRESS} and ${NEAR_ADDRESS}, joined by a veth pair`,
      address: FAR_ADDRESS,
      separate: true,
      launch: (host, program, argument) => launch(['ip', 'netns', 'exec', names[host]], program, argument),
    });
  } catch (error) {
    cleanUp();
    return new Hosts({
      ...common,
      description: `two processes on loopback (no network namespaces here: ${reasonOf(error)})`,
      address: '127.0.0.1',
      separate: false,
      launch: (_, program, argument) => launch([], program, argument),
    });
  }
}

function makeNamespaces(): Record<HostName, string> {
  if (process.getuid?.() !== 0) throw new Error('that takes root');
  const names = { far: `splitplane-${process.pid}-far`, near: `splitplane-${process.pid}-near` };
  const { far, near } = names;
  for (const name of [far, near]) {
    ip('netns', 'add', name);
    namespaces.add(name);
  }
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
  return names;
}

function reasonOf(error: unknown): string {
  const { stderr, code, message } = error as { stderr?: Buffer; code?: string; message: string };
  if (code === 'ENOENT') return 'the command ip is missing (Debian: iproute2)';
  const [first = ''] = (stderr?.toString() ?? '').trim().split('\n');
  return first === '' ? message : first;
}
