// `splitplane watch URI`: subscribes to a service, whose contract need not be known here, and prints what it tells.
import { once } from 'node:events';
import { Command } from 'commander';
import { SplitplaneError } from '../errors.js';
import type { Connection } from '../network/connection.js';
import { contract as contractOf } from '../runtime/contract.js';
import type { ServiceDescription } from '../runtime/service-contract.js';
import { Body, type Field, type Source } from '../runtime/shape.js';
import type { Call } from '../runtime/service.js';
import type { Subscribed } from '../runtime/subscriber.js';
import { FaultError } from '../soap/fault.js';
import type { XmlElement } from '../soap/infoset.js';
import { XOP } from '../soap/namespaces.js';
import { includedCid } from '../soap/references.js';
import { Failure } from '../runtime/failure.js';
import { printableLine } from '../runtime/printable.js';
import { answerOf, FaultAnswer, UsageError } from './failure.js';
import { interruptible, wholeNumber } from './options.js';
import { contentOf, printElement } from './runtime/element-output.js';
import { printBuffers, takeBuffers, type NamedBuffer } from './runtime/message-buffers.js';
import { addRemoteOptions, parseServicePlace, Remote, type RemoteOptions } from './runtime/remote.js';
import { drained, print, printJson } from './terminal.js';

const HELP = `
URI is dos://HOST:PORT/NAME, rdma://HOST:PORT/NAME or unix:/SOCKET:NAME. The contract says what there is to be
told; Lookup shows it. Ctrl-C ends the subscription, with exit code 0.
What is not printed as fast as it is published waits at the publisher, and is dropped there beyond 256; the
last line says how many were.

Examples:
  splitplane watch dos://127.0.0.1:7350/camera
  splitplane watch dos://127.0.0.1:7350/camera --type frame --count 10 --into ./frames
  splitplane watch dos://127.0.0.1:7350/console --json | jq -r '.content.lines'`;

/** How long the publisher keeps the subscription unless it is renewed, and so how late its end is noticed, twice over. */
const EXPIRES_MS = 20_000;
/** Digits of the number that begins the names of stored files, so that they sort. */
const SEQUENCE_DIGITS = 6;

interface WatchOptions extends RemoteOptions {
  readonly count: number;
  readonly type: readonly string[];
  readonly into?: string | undefined;
}

/** A notification as it came. */
interface Told {
  readonly element: XmlElement;
  readonly source: Source;
}

export function watchCommand(): Command {
  const command = new Command('watch')
    .description('print what a service tells its subscribers')
    .argument('<uri>', 'the service')
    .option('--count <n>', 'end after so many', wholeNumber(1, Number.MAX_SAFE_INTEGER), Infinity)
    .option(
      '--type <name>',
      'only notifications of this name (may be repeated)',
      (name, before: string[]) => [...before, name],
      [],
    )
    .option('--into <dir>', 'store the buffers of notifications there');
  return addRemoteOptions(command, 'each notification as one JSON line')
    .addHelpText('after', HELP)
    .action(watch);
}

async function watch(uri: string, options: WatchOptions): Promise<void> {
  const place = parseServicePlace(uri);
  const { json } = options;
  // Whoever ends it before it has begun gets nothing, and the exit code says so; afterwards, it is how it usually ends.
  await interruptible(
    json,
    async (signal) => {
      await using remote = await Remote.connect(place.address, options, signal);
      const to = remote.uriOf(place.name);
      const described = await remote.lookup(to, signal);
      const types = typesToTell(described, options.type);
      const printer = new NotificationPrinter(options, signal);
      const contract = contractOf(described.contract, {
        notifications: Object.fromEntries(types.map((type) => [type, new Body(type, AS_IT_IS)])),
      });
      const handlers = Object.fromEntries(types.map((type) => [type, printer.print]));
      const { kernel, client, connection } = remote;
      const subscribed = await answerOf(
        kernel.subscribe(client, contract, to, handlers, { expiresMs: EXPIRES_MS }),
      );
      if (json) printJson({ watching: to, notifications: types });
      else print(`Watching ${to}: ${types.map(printableLine).join(', ')}`);
      const aborted = signal.aborted ? undefined : once(signal, 'abort').then(() => undefined);
      try {
        const why = await Promise.race([aborted, printer.done, subscribed.ended, connection.closed]);
        if (why !== undefined) throw gone(to, why);
      } finally {
        tellEnd(printer.count, await unsubscribed(subscribed, connection), json);
      }
    },
    { withReader: true },
  );
}

/** The elements to be told, by the names that the contract or the elements have. Throws UsageError for a name that none has. */
function typesToTell(
  { contract, notifications }: ServiceDescription,
  names: readonly string[],
): readonly string[] {
  if (notifications.length === 0)
    throw new UsageError(`${contract} tells nobody anything: watch another service.`);
  if (names.length === 0) return notifications.map(({ body }) => body);
  return names.map((wanted) => {
    const found = notifications.find(({ name, body }) => name === wanted || body === wanted);
    if (found !== undefined) return found.body;
    const known = notifications.map(({ name }) => printableLine(name)).join(', ');
    throw new UsageError(`${contract} tells nothing called ${wanted}; it tells ${known}.`);
  });
}

/** Any element, unread, with the buffers that it refers to. */
const AS_IT_IS: Field<never, Told, 'one'> = {
  presence: 'one',
  write: (): never => {
    throw new SplitplaneError('UNSUPPORTED', 'A watcher reads notifications and writes none.');
  },
  read: (element, _place, source) => ({ element, source }),
};

/** Prints notifications, one after the other. */
class NotificationPrinter {
  /** Settles when there were as many as were wanted; rejects when one could not be printed or stored. */
  readonly done: Promise<undefined>;
  /** Printed so far. */
  count = 0;
  readonly #options: WatchOptions;
  readonly #signal: AbortSignal;
  #resolve!: (value: undefined) => void;
  #reject!: (error: unknown) => void;

  constructor(options: WatchOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.done = new Promise<undefined>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // The command may end for another reason before anybody looks at it.
    this.done.catch(() => undefined);
  }

  readonly print = async ({ body: { element, source } }: Call<Told>): Promise<void> => {
    // Those on their way when the last one was printed.
    if (this.count === this.#options.count) return;
    try {
      await this.#print(element, source, ++this.count);
      // What is not read here waits at the publisher, which bounds it.
      await drained(this.#signal);
    } catch (error) {
      this.#reject(error);
      throw error;
    }
    if (this.count === this.#options.count) this.#resolve(undefined);
  };

  async #print(element: XmlElement, source: Source, sequence: number): Promise<void> {
    const { into, json } = this.#options;
    const time = new Date().toISOString();
    const prefix = `${String(sequence).padStart(SEQUENCE_DIGITS, '0')}-`;
    const buffers = await takeBuffers(buffersIn(element, source), { into, prefix, signal: this.#signal });
    if (json) {
      const { namespace, localName } = element;
      printJson({ time, element: localName, namespace, content: contentOf(element), buffers });
      return;
    }
    print(`${time} ${printableLine(element.localName)}`);
    printElement(element);
    printBuffers(buffers);
  }
}

/** The buffers that an element refers to, each once. */
function buffersIn(element: XmlElement, source: Source): NamedBuffer[] {
  const found = new Map<string, NamedBuffer>();
  const pending = [element];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const cid = at.is(XOP, 'Include') ? includedCid(at) : undefined;
    const attached = cid === undefined ? undefined : source(cid);
    if (cid !== undefined && attached !== undefined) found.set(cid, { cid, attached });
    // The last one is looked at first.
    pending.push(...at.elements().reverse());
  }
  return [...found.values()];
}

type Counters = Awaited<ReturnType<Subscribed['unsubscribe']>>;

/** Ends the subscription. Answers what the publisher counted; undefined when it cannot be asked. */
async function unsubscribed(subscribed: Subscribed, { state }: Connection): Promise<Counters> {
  const ending = subscribed.unsubscribe().catch(() => undefined);
  return state === 'closed' ? undefined : await ending;
}

function tellEnd(count: number, counters: Counters, json: boolean): void {
  if (json) {
    printJson({ summary: { printed: count, ...counters } });
    return;
  }
  const dropped = counters === undefined || counters.dropped === 0 ? '' : `, ${counters.dropped} dropped`;
  print(`${count === 1 ? '1 notification' : `${count} notifications`}${dropped}`);
}

/** Why there will be no more notifications. */
function gone(uri: string, why: SplitplaneError): Failure {
  const says = `The publisher ${uri} is gone: `;
  if (why instanceof FaultError) return new FaultAnswer(why.fault, says + printableLine(why.fault.reason));
  // That the other side closed the connection in good order is no good end of this command.
  const code = why.code === 'CLOSED' ? 'CONNECTION_LOST' : why.code;
  return new Failure(code, says + why.message, { cause: why });
}
