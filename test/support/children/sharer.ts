// A peer that shares memory, in a process of its own: sends messages with buffers of connection.allocate, keeps what it is
// sent as views, and says what is in the memory of others that it has mapped. Argument: { connect }.
// Tells: { opened }, { got: buffers of a message }, { found: one boolean for each pattern }, { closed: code }, { released }.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { NetworkManager, type RegisteredBuffer } from '../../../lib/index.js';

interface Command {
  /** Looks for these bytes, in hexadecimal, in every shared mapping of this process. */
  readonly scan?: readonly string[];
  readonly release?: boolean;
}

const { connect } = JSON.parse(process.argv[2] ?? '{}') as { connect: string };
const manager = new NetworkManager();
const kept: RegisteredBuffer[] = [];

function tell(message: Record<string, unknown>): void {
  process.send?.(message);
}

function scan(patterns: readonly string[]): boolean[] {
  const memory = openSync('/proc/self/mem', 'r');
  const found = patterns.map(() => false);
  for (const line of readFileSync('/proc/self/maps', 'utf8').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) .*memfd:splitplane/.exec(line);
    if (range === null) continue;
    const begin = Number.parseInt(range[1] as string, 16);
    const bytes = Buffer.alloc(Number.parseInt(range[2] as string, 16) - begin);
    readSync(memory, bytes, 0, bytes.length, begin);
    patterns.forEach((pattern, index) => (found[index] ||= bytes.includes(Buffer.from(pattern, 'hex'))));
  }
  closeSync(memory);
  return found;
}

async function keep(): Promise<void> {
  for await (const message of manager.messages) {
    for (const remote of message.buffers) kept.push(await remote.resolve());
    message.release();
    tell({ got: kept.length });
  }
}

const connection = await manager.connect(connect);
connection.on('close', (why) => tell({ closed: why.code }));
process.on('message', ({ scan: patterns, release }: Command) => {
  if (patterns !== undefined) tell({ found: scan(patterns) });
  if (release === true) {
    for (const buffer of kept.splice(0)) buffer.release();
    tell({ released: true });
  }
});
void keep();
const { transport, passedOver } = connection.facts;
tell({ opened: transport });
tell({ passedOver });
