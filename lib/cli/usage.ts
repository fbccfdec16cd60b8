// What a process spends: processor time, copies in user space, bytes moved, and how late its event loop is. Measured here
// from a point in time on, and asked of a serving process over the wire.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { NetworkManager } from '../network/manager.js';
import { Failure, type Proxy } from '../runtime/index.js';
import { asked, type Client } from './client.js';
import { MEASURE, Measure } from './perf/contract.js';

/** Milliseconds between two looks at the event loop. The delays that are reported contain it. */
const LOOP_RESOLUTION_MS = 1;
const NS_PER_MS = 1e6;

export interface Usage {
  readonly cpuSeconds: number;
  /** Bytes of reads and writes that arrived, and bytes that were copied in user space on the way out or in. */
  readonly bytesReceived: number;
  readonly bytesCopied: number;
  readonly eventLoopDelayP99Ms: number;
}

/** Usage of this process since start(). */
export class UsageMeter {
  readonly #manager: NetworkManager;
  readonly #delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  #cpu = process.cpuUsage();
  #moved = { received: 0, copied: 0 };

  constructor(manager: NetworkManager) {
    this.#manager = manager;
  }

  start(): void {
    this.#cpu = process.cpuUsage();
    this.#moved = this.#counters();
    this.#delay.reset();
    this.#delay.enable();
  }

  read(): Usage {
    const { user, system } = process.cpuUsage(this.#cpu);
    const { received, copied } = this.#counters();
    const p99 = this.#delay.count > 0 ? this.#delay.percentile(99) / NS_PER_MS : 0;
    return {
      cpuSeconds: (user + system) / 1e6,
      bytesReceived: received - this.#moved.received,
      bytesCopied: copied - this.#moved.copied,
      eventLoopDelayP99Ms: p99,
    };
  }

  stop(): void {
    this.#delay.disable();
  }

  #counters(): { received: number; copied: number } {
    const transports = Object.values(this.#manager.stats.transports);
    return {
      received: transports.reduce((sum, { bytesReceived }) => sum + bytesReceived, 0),
      copied: transports.reduce((sum, { bytesCopied }) => sum + bytesCopied, 0),
    };
  }
}

/** What a peer says that it spent is shown, if it can be. */
function checked(usage: Usage): Usage {
  const { cpuSeconds, bytesReceived, bytesCopied, eventLoopDelayP99Ms } = usage;
  const figures = [cpuSeconds, bytesReceived, bytesCopied, eventLoopDelayP99Ms];
  if (figures.every((figure) => Number.isFinite(figure) && figure >= 0)) return usage;
  throw new Failure(
    'PROTOCOL_VIOLATION',
    'The peer says that it spent what nobody can. Nothing of it was used.',
  );
}

/** What both ends spent together; the delay is that of the later loop. */
export interface SharedUsage {
  readonly cpuSeconds: number;
  /** Copies in user space for each byte that a transport moved; 0 when none moved. */
  readonly copiesPerByte: number;
  readonly eventLoopDelayP99Ms: number;
}

/** Measures here and at the peer, from start() to read(). */
export class SharedMeter {
  readonly #measure: Proxy<typeof Measure>;
  readonly #here: UsageMeter;
  readonly #signal: AbortSignal;

  constructor(client: Client, signal: AbortSignal) {
    this.#signal = signal;
    this.#measure = client.proxy(Measure, MEASURE);
    this.#here = new UsageMeter(client.manager);
  }

  async start(): Promise<void> {
    await this.#ask('start');
    this.#here.start();
  }

  async read(): Promise<SharedUsage> {
    const here = this.#here.read();
    this.#here.stop();
    const there = await this.#ask('read');
    const received = here.bytesReceived + there.bytesReceived;
    return {
      cpuSeconds: here.cpuSeconds + there.cpuSeconds,
      copiesPerByte: received === 0 ? 0 : (here.bytesCopied + there.bytesCopied) / received,
      eventLoopDelayP99Ms: Math.max(here.eventLoopDelayP99Ms, there.eventLoopDelayP99Ms),
    };
  }

  async #ask(step: 'start' | 'read'): Promise<Usage> {
    return checked(await asked(this.#measure.usage({ step }, { timeoutMs: Infinity, signal: this.#signal })));
  }
}
