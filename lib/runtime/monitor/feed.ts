// Who looks at the page now, and what each of them gets: one snapshot a second at most, taken only while somebody looks, and
// for each viewer what changed since the last one that reached it. A viewer that does not keep up is skipped, and dropped
// when it takes nothing at all; what waits for it is never more than one piece of text. Knows responses, not requests.
import type { ServerResponse } from 'node:http';
import type { RuntimeSnapshot } from '../snapshot.js';
import { messageOf } from '../describe.js';
import { problem, updates } from './changes.js';

/** Snapshots and updates may take one part in this many of the time; a runtime of many services is looked at less often. */
const REST_FACTOR = 10;

export interface FeedLimits {
  /** The least time between two snapshots. */
  readonly intervalMs: number;
  readonly viewersMax: number;
  /** How long a viewer may take nothing before it is dropped. */
  readonly stalledMs: number;
}

interface Taken {
  readonly snapshot: RuntimeSnapshot;
  readonly at: number;
}

export class Feed {
  readonly #source: () => RuntimeSnapshot;
  readonly #limits: FeedLimits;
  readonly #viewers = new Set<Viewer>();
  #latest: Taken | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(source: () => RuntimeSnapshot, limits: FeedLimits) {
    this.#source = source;
    this.#limits = limits;
  }

  get full(): boolean {
    return this.#viewers.size >= this.#limits.viewersMax;
  }

  /** A snapshot that is no older than the interval. Throws what the source throws. */
  snapshot(): RuntimeSnapshot {
    return (this.#latest ?? this.#take()).snapshot;
  }

  /** Sends updates on a response whose head is written, until it closes. */
  add(response: ServerResponse): void {
    const viewer = new Viewer(response, this.#limits);
    this.#viewers.add(viewer);
    response.once('close', () => this.#viewers.delete(viewer));
    this.#offer([viewer]);
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const viewer of this.#viewers) viewer.end();
  }

  #take(): Taken {
    const startedAt = performance.now();
    // The next turn comes also when the source throws: it is asked again then.
    let pauseMs = this.#limits.intervalMs;
    try {
      const snapshot = this.#source();
      const at = performance.now();
      pauseMs = Math.max(pauseMs, (at - startedAt) * REST_FACTOR);
      this.#latest = { snapshot, at };
      return this.#latest;
    } finally {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#turn(), pauseMs);
    }
  }

  #turn(): void {
    // Without viewers the last snapshot is let go, and nothing happens until somebody asks.
    this.#latest = undefined;
    if (this.#viewers.size > 0) this.#offer(this.#viewers);
  }

  #offer(viewers: Iterable<Viewer>): void {
    try {
      const snapshot = this.snapshot();
      for (const viewer of viewers) viewer.offer(snapshot);
    } catch (error) {
      for (const viewer of viewers) viewer.tell(problem(messageOf(error)));
    }
  }
}

class Viewer {
  readonly #response: ServerResponse;
  readonly #limits: FeedLimits;
  #known: RuntimeSnapshot | undefined;
  #busy = false;
  #notBefore = 0;

  constructor(response: ServerResponse, limits: FeedLimits) {
    this.#response = response;
    this.#limits = limits;
  }

  /** Begins to send what leads to the snapshot, unless the last update is still under way or was much work. */
  offer(snapshot: RuntimeSnapshot): void {
    if (this.#busy || performance.now() < this.#notBefore) return;
    this.#update(snapshot).catch((error: unknown) => this.#response.end(problem(messageOf(error))));
  }

  /** Sends a short text, unless an update is under way. */
  tell(text: string): void {
    if (!this.#busy && !this.#response.writableNeedDrain) this.#response.write(text);
  }

  end(): void {
    this.#response.end();
  }

  async #update(snapshot: RuntimeSnapshot): Promise<void> {
    this.#busy = true;
    const startedAt = performance.now();
    let waitedMs = 0;
    for await (const text of updates(this.#known, snapshot, this.#limits.intervalMs)) {
      if (this.#response.writableEnded || this.#response.destroyed) return;
      if (this.#response.write(text)) continue;
      const fullAt = performance.now();
      if (!(await this.#drained())) {
        this.#response.destroy();
        return;
      }
      waitedMs += performance.now() - fullAt;
    }
    const endedAt = performance.now();
    this.#notBefore = endedAt + (endedAt - startedAt - waitedMs) * REST_FACTOR;
    this.#known = snapshot;
    this.#busy = false;
  }

  /** Settles with whether what was written is on its way, and there is room. */
  #drained(): Promise<boolean> {
    const response = this.#response;
    return new Promise((resolve) => {
      const settle = (drained: boolean): void => {
        clearTimeout(timer);
        response.off('drain', onDrain).off('close', onClose);
        resolve(drained);
      };
      const onDrain = (): void => settle(true);
      const onClose = (): void => settle(false);
      const timer = setTimeout(onClose, this.#limits.stalledMs);
      response.once('drain', onDrain).once('close', onClose);
    });
  }
}
