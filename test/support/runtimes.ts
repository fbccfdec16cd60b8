// Runtimes for tests: every one is tracked, checked for memory that somebody still holds, and closed after the test that made
// it. Also the two places from which a service can be asked, which are to make no difference, and the messages as they pass.
import { fileURLToPath } from 'node:url';
import { afterEach, expect } from 'vitest';
import { element, type NetworkManager, type RegisteredBuffer, type XmlElement } from '../../lib/index.js';
import { Kernel } from '../../lib/runtime/kernel.js';
import type { Delivery } from '../../lib/runtime/delivery.js';
import { Runtime, type LogLevel, type RuntimeInit, type ServiceSnapshot } from '../../lib/runtime/index.js';
import { Port, type Receiver } from '../../lib/runtime/port.js';
import { OWN_NAMES } from '../../lib/runtime/services/own.js';
import { until } from './events.js';
import { fill } from './managers.js';

export interface LogLine {
  readonly level: LogLevel;
  readonly source: string;
  readonly text: string;
}

interface Tracked {
  /** Says how many buffers somebody holds, and how many tags and operations are open. */
  readonly held: () => number;
  readonly close: () => Promise<void>;
}

const tracked = new Set<Tracked>();
const logs = new WeakMap<object, LogLine[]>();

afterEach(async () => {
  const all = [...tracked].reverse();
  tracked.clear();
  // What never goes idle ends the hook, whose time is over then, and not the tests behind it.
  try {
    await until(() => all.every(({ held }) => held() === 0));
  } finally {
    for (const { close } of all) await close();
  }
});

function heldOf(network: NetworkManager | undefined, buffers: number): number {
  return network === undefined ? buffers : buffers + network.stats.exposures + network.stats.operations;
}

/** A runtime that ends with the test. Whatever it logs can be read with logOf(). */
export async function startRuntime(from: string | RuntimeInit = {}): Promise<Runtime> {
  const lines: LogLine[] = [];
  const runtime = await Runtime.start(
    typeof from === 'string' ? from : { security: { off: true }, ...from },
    {
      log: (level, source, text) => {
        lines.push({ level, source, text });
      },
    },
  );
  logs.set(runtime, lines);
  let open = true;
  tracked.add({
    held: () => (open ? heldOf(runtime.network, runtime.snapshot().memory?.buffers ?? 0) : 0),
    close: async () => {
      open = false;
      await runtime.close();
    },
  });
  return runtime;
}

/** The services of a runtime that are not part of it. */
export function guestsOf(runtime: Runtime): ServiceSnapshot[] {
  return runtime.snapshot().services.filter(({ name }) => !OWN_NAMES.some((own) => own === name));
}

/** What a runtime of startRuntime() logged so far. */
export function logOf(runtime: Runtime): readonly LogLine[] {
  return logs.get(runtime) ?? [];
}

const LISTENING = { listen: ['tcp://127.0.0.1:0'], allowInsecure: false };
const DIALING = { listen: [], allowInsecure: false };

/** A runtime that others reach over TCP. */
export function startListening(init: RuntimeInit = {}): Promise<Runtime> {
  return startRuntime({ name: 'home', network: LISTENING, ...init });
}

/** A runtime that only connects to others. */
export function startDialing(init: RuntimeInit = {}): Promise<Runtime> {
  return startRuntime({ name: 'away', network: DIALING, ...init });
}

/** Where a service is, and where it is asked from. */
export interface Place {
  readonly home: Runtime;
  readonly away: Runtime;
}

export interface PlaceCase {
  readonly name: string;
  start(): Promise<Place>;
}

/** The same suite over both is to give the same results: a service cannot tell where its callers are. */
export const PLACES: readonly PlaceCase[] = [
  {
    name: 'same runtime',
    start: async () => {
      const home = await startRuntime();
      return { home, away: home };
    },
  },
  {
    name: 'other runtime over TCP',
    start: async () => ({ home: await startListening(), away: await startDialing() }),
  },
];

/** The kernel alone, without services, and with nothing forbidden: to see what passes between its parts. */
export async function startKernel(network?: 'listening' | 'dialing'): Promise<Kernel> {
  const kernel = await Kernel.start(
    {
      name: 'kernel',
      security: { off: true },
      network: network === undefined ? undefined : network === 'listening' ? LISTENING : DIALING,
    },
    (level, source, text) => {
      throw new Error(`The kernel logged ${level} ${source}: ${text}`);
    },
  );
  let open = true;
  tracked.add({
    held: () => (open ? heldOf(kernel.network, kernel.memory?.buffers ?? 0) : 0),
    close: async () => {
      open = false;
      await kernel.close();
    },
  });
  return kernel;
}

/** A port in a kernel that keeps what arrives, for the test to look at, answer and release. */
export class Catcher implements Receiver {
  readonly concurrency = 'concurrent';
  readonly queueMax = 1024;
  readonly uri: string;
  readonly caught: Delivery[] = [];

  constructor(kernel: Kernel, name: string) {
    const target = new Port(this, kernel.schedule);
    this.uri = kernel.uris.register({ principal: `service:${name}`, name, target }).uri;
  }

  accepts(): undefined {
    return undefined;
  }

  handle(delivery: Delivery): Promise<void> {
    this.caught.push(delivery);
    // The port gives back what came with the message when this settles.
    return new Promise((resolve) => {
      delivery.signal.addEventListener('abort', () => resolve());
      this.#done.set(delivery, resolve);
    });
  }

  /** The next message, when it is there. */
  async take(): Promise<Delivery> {
    await until(() => this.caught.length > 0);
    return this.caught.shift() as Delivery;
  }

  /** Answers with an empty element, and is done with the message. */
  answer(delivery: Delivery): void {
    const body = element('urn:splitplane:test', 'Done');
    delivery.answer(delivery.envelope.reply({ action: 'urn:splitplane:test:done', body }), [], undefined);
    this.#done.get(delivery)?.();
  }

  readonly #done = new Map<Delivery, () => void>();
}

/** A registered buffer with the pattern of `seed`. */
export function filledBuffer(of: Pick<Runtime, 'allocate'>, length: number, seed = 1): RegisteredBuffer {
  const buffer = of.allocate(length);
  fill(buffer.bytes, seed);
  return buffer;
}

/** The bytes of fill(). */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  fill(bytes, seed);
  return bytes;
}

/** The URL of a module among test/runtime/services. */
export function serviceModule(name: string): string {
  return new URL(`../runtime/services/${name}`, import.meta.url).href;
}

/** The same as a path, as manifests name it. */
export function servicePath(name: string): string {
  return fileURLToPath(serviceModule(name));
}

/** The subcode of the fault that a promise was rejected with. */
export async function subcode(of: Promise<unknown>): Promise<string | undefined> {
  const error: unknown = await of.then(
    (value) => expect.fail(`It was to be refused and came to ${JSON.stringify(value)}.`),
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code: 'FAULT' });
  const { fault } = error as { fault: { subcodes: { localName: string }[] } };
  return fault.subcodes.at(-1)?.localName;
}

/** Every element of a tree, the root first. */
export function* elementsOf(root: XmlElement): Generator<XmlElement, void, void> {
  yield root;
  for (const child of root.elements()) yield* elementsOf(child);
}
