// The course of the demo, on whatever hosts it is given: one has a camera that the other watches; one serves files that the other fetches
// and puts back, and every file is compared at both ends. Tells what happens as events. It must not know how they are shown, nor what kind of hosts these are.
import type { ShownMessage, Watched } from './camera-hosts.js';
import type { Digests, Far, Look, Near, Summary, Told } from './demo-host.js';
import type { HostName, Hosts, Program } from './hosts.js';

const PROGRAM = 'dist/examples/demo-host.js';
/** What emulated processors move and hash in a minute. */
const PART = { fileBytesMax: 8 << 20, folders: ['docs', 'examples'] };
/** What they paint and look at as fast as frames come. */
const SMALL_CAMERA = { width: 160, height: 120, frames: 10, recordEvery: 5 };
const CAMERA = { width: 640, height: 480, frames: 36, recordEvery: 10 };

export interface Transfer extends Summary {
  readonly name: string;
  /** Whether all that was fetched or put has the SHA-256 of its source. */
  readonly digestsEqual: boolean;
}

export interface Result {
  /** Whether every digest is equal, no frame was copied, and every byte went over the transport of these hosts. */
  readonly ok: boolean;
  readonly transport: string;
  /** Of every frame and file, counted once for each time that it moved. */
  readonly bytes: number;
  readonly digestsEqual: boolean;
}

/** What happens, in this order: one of each, but for what is about transfers. */
export interface DemoEvent {
  readonly hosts?: { readonly description: string; readonly transport: string; readonly address: string };
  readonly message?: ShownMessage;
  readonly watched?: Watched;
  /** A transfer has ended; whether it is right is looked at when all have. */
  readonly moved?: { readonly name: string; readonly bytes: number };
  readonly transfer?: Transfer;
  readonly result?: Result;
}

/** What a program tells, one at a time. */
async function* follow(program: Program): AsyncGenerator<Told, undefined> {
  for await (const line of program.lines) yield JSON.parse(line) as Told;
  await program.ended;
}

function start(hosts: Hosts, host: HostName, argument: Far | Near | Look): AsyncGenerator<Told, undefined> {
  return follow(hosts.start(host, PROGRAM, argument));
}

/** The first thing of a kind that a program tells. */
async function told<K extends keyof Told>(
  from: AsyncGenerator<Told, undefined>,
  kind: K,
): Promise<NonNullable<Told[K]>> {
  for (;;) {
    const step = await from.next();
    if (step.done === true) throw new Error(`a program of the demo ended before it told ${kind}`);
    const found = step.value[kind];
    if (found !== undefined) return found;
  }
}

/** Those below a place, or of the file that it is, by what follows its name. */
function below(place: string, digests: Digests): Map<string, string> {
  const found = Object.entries(digests).filter(([path]) => path === place || path.startsWith(`${place}/`));
  return new Map(found.map(([path, digest]) => [path.slice(place.length), digest]));
}

function equal(one: Map<string, string>, other: Map<string, string>): boolean {
  return (
    one.size > 0 && one.size === other.size && [...one].every(([path, digest]) => other.get(path) === digest)
  );
}

/** Runs it all and tells it by `show`. The server goes on until the hosts are closed. */
export async function demonstrate(hosts: Hosts, show: (event: DemoEvent) => void): Promise<Result> {
  const { description, transport, address, separate, emulated } = hosts.parts;
  show({ hosts: { description, transport, address } });
  const flags = separate ? ['--allow-insecure'] : [];
  const what = emulated
    ? { file: 'node.part', tree: 'splitplane.part' }
    : { file: 'node', tree: 'splitplane' };
  const part = emulated ? { part: PART } : {};
  const listen = `${transport}://${address}:0`;
  const common = { flags, separate, camera: emulated ? SMALL_CAMERA : CAMERA, ...what };
  const far = start(hosts, 'far', { role: 'far', listen, ...common, ...part });
  const { root, ...serving } = await told(far, 'serving');
  const near = start(hosts, 'near', { role: 'near', transport, ...serving, ...common });
  const message = await told(near, 'message');
  show({ message });
  const watched = await told(near, 'watched');
  show({ watched });
  const transferred = [];
  let here: Digests = {};
  for await (const each of near) {
    if (each.transferred !== undefined) {
      const { name, summary } = each.transferred;
      transferred.push(each.transferred);
      show({ moved: { name, bytes: summary.bytes } });
    }
    here = each.digests ?? here;
  }
  const there = await told(start(hosts, 'far', { role: 'look', directory: root }), 'digests');
  const transfers = transferred.map((each): Transfer => {
    const digestsEqual = equal(below(each.far, there), below(each.near, here));
    return { name: each.name, digestsEqual, ...each.summary };
  });
  for (const transfer of transfers) show({ transfer });
  const framesEqual = watched.frames > 0 && watched.equal === watched.frames;
  const digestsEqual = framesEqual && transfers.length > 0 && transfers.every((each) => each.digestsEqual);
  const result = {
    ok:
      digestsEqual &&
      watched.copiesPerByte === 0 &&
      [message, ...transfers].every((each) => each.transport === transport),
    transport,
    bytes: message.bytes + watched.bytes + transfers.reduce((sum, { bytes }) => sum + bytes, 0),
    digestsEqual,
  };
  show({ result });
  return result;
}
