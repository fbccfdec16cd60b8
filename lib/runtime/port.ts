// A port: the queue before a service. It takes what the service's contract allows, up to a bound, and starts the service on one
// message after the other, or on several that only read. Ports take turns: the schedule below starts them from the
// event loop in bounded rounds, so that services that keep each other busy do not keep timers and sockets waiting.
import { Fifo } from '../network/fifo.js';
import { SoapFault } from '../soap/fault.js';
import type { Delivery } from './delivery.js';
import { onlyReads, type Verb } from './verbs.js';

/** Messages started before the event loop gets its turn. */
const ROUND_MESSAGES_MAX = 512;
/** Messages that one port starts before another does. */
const TURN_MESSAGES_MAX = 32;
/** Messages that wait before a port, unless its service says otherwise. */
export const QUEUE_MAX = 1024;
/** How often a full queue is searched for messages that nobody waits for any more, in milliseconds. */
const SEARCH_EVERY_MS = 50;
/** Messages that only read and are handled at the same time. */
export const READERS_MAX = 64;

/**
 * `exclusive`: one message after the other. `concurrent-reads`: Get, Query and Lookup beside each other, everything else
 * alone. `concurrent`: all beside each other; the service sees to its state itself.
 */
export type Concurrency = 'exclusive' | 'concurrent-reads' | 'concurrent';

/** What a port stands before. */
export interface Receiver {
  readonly concurrency: Concurrency;
  readonly queueMax: number;
  /** Milliseconds that a message may take from when it comes, whatever its sender allows; undefined for no such bound. */
  readonly timeoutMs?: number | undefined;
  /** Whether messages with this verb belong here at all; judged before a message waits. */
  accepts(verb: Verb | undefined): SoapFault | undefined;
  /** Handles a message and answers it. Undefined when it is done at once. Never throws, never rejects. */
  handle(delivery: Delivery): Promise<void> | undefined;
}

export interface PortFacts {
  /** Messages that wait. */
  readonly depth: number;
  readonly depthMax: number;
  /** Messages that are being handled. */
  readonly running: number;
  /** Messages that were taken in since the beginning. */
  readonly delivered: number;
  /** Messages that were not: too many, or not in the contract. */
  readonly refused: number;
}

/** Starts the ports that have something to do. One for each runtime. */
export class Schedule {
  readonly #ready = new Fifo<Port>();
  #due = false;
  #left = ROUND_MESSAGES_MAX;

  /** Has the port run soon. */
  add(port: Port): void {
    this.#ready.push(port);
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(this.#run);
  }

  readonly #run = (): void => {
    for (let port = this.#ready.shift(); port !== undefined; port = this.#ready.shift()) {
      this.#left -= port.run(Math.min(TURN_MESSAGES_MAX, this.#left));
      if (this.#left > 0) continue;
      // `due` stays set: whatever becomes ready now waits for the next round, too.
      setImmediate(this.#nextRound);
      return;
    }
    this.#due = false;
  };

  readonly #nextRound = (): void => {
    this.#left = ROUND_MESSAGES_MAX;
    this.#run();
  };
}

export class Port {
  readonly #schedule: Schedule;
  #receiver: Receiver;
  #waiting: Fifo<Delivery> | undefined;
  #scheduled = false;
  #paused = false;
  #closed: SoapFault | undefined;
  #readers = 0;
  #writing = false;
  #idle: (() => void)[] | undefined;
  /** Counts receivers: what an earlier one still works on is no affair of its successor's. */
  #generation = 0;
  #searchedAt = -Infinity;
  #delivered = 0;
  #refused = 0;

  constructor(receiver: Receiver, schedule: Schedule) {
    this.#receiver = receiver;
    this.#schedule = schedule;
  }

  get facts(): PortFacts {
    return {
      depth: this.#waiting?.length ?? 0,
      depthMax: this.#receiver.queueMax,
      running: this.#readers + (this.#writing ? 1 : 0),
      delivered: this.#delivered,
      refused: this.#refused,
    };
  }

  /** Takes a message in, or refuses it at once. */
  put(delivery: Delivery): void {
    const fault = this.#closed ?? this.#receiver.accepts(delivery.verb) ?? this.#checkRoom();
    if (fault !== undefined) {
      this.#refused++;
      delivery.refuse(fault);
      delivery.release();
      return;
    }
    this.#delivered++;
    const { timeoutMs } = this.#receiver;
    if (timeoutMs !== undefined) delivery.shorten(performance.now() + timeoutMs);
    (this.#waiting ??= new Fifo()).push(delivery);
    this.#wake();
  }

  /** Starts at most `most` messages. Answers how many it started; called by the schedule. */
  run(most: number): number {
    this.#scheduled = false;
    let count = 0;
    while (count < most && this.#mayStart()) {
      const delivery = this.#waiting?.shift() as Delivery;
      count++;
      if (delivery.settled) delivery.release();
      else this.#start(delivery);
    }
    if (count > 0) this.#wake();
    // A port that found nothing to do has had its turn as well.
    return Math.max(1, count);
  }

  /** Starts nothing until resume(): what comes waits. */
  pause(): void {
    this.#paused = true;
  }

  /** Settles when what was started has ended, with whether it has: false after so many milliseconds. */
  idle(waitMs: number): Promise<boolean> {
    if (!this.#busy) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        resolve(false);
      }, waitMs);
      (this.#idle ??= []).push(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  /** Goes on, with another receiver if one is given. */
  resume(receiver = this.#receiver): void {
    if (receiver !== this.#receiver) {
      this.#receiver = receiver;
      this.#generation++;
      this.#readers = 0;
      this.#writing = false;
    }
    this.#paused = false;
    this.#wake();
  }

  /** Refuses what waits and what comes from now on. */
  close(why: SoapFault): void {
    this.#closed = why;
    for (let delivery = this.#waiting?.shift(); delivery !== undefined; delivery = this.#waiting?.shift()) {
      this.#refused++;
      delivery.refuse(why);
      delivery.release();
    }
  }

  #checkRoom(): SoapFault | undefined {
    const { queueMax } = this.#receiver;
    if (this.#waiting === undefined || this.#waiting.length < queueMax || this.#makeRoom(this.#waiting))
      return undefined;
    const reason = `${queueMax} messages wait for this service already. Send again when it has caught up.`;
    return SoapFault.dssp('QueuingLimitExceeded', reason);
  }

  /** Takes out what was given up or is late. Answers whether there is room now. */
  #makeRoom(waiting: Fifo<Delivery>): boolean {
    const now = performance.now();
    if (now - this.#searchedAt < SEARCH_EVERY_MS) return false;
    this.#searchedAt = now;
    for (const delivery of waiting.removeAll(({ settled }) => settled)) delivery.release();
    return waiting.length < this.#receiver.queueMax;
  }

  get #busy(): boolean {
    return this.#readers > 0 || this.#writing;
  }

  #wake(): void {
    if (this.#scheduled || !this.#mayStart()) return;
    this.#scheduled = true;
    this.#schedule.add(this);
  }

  #mayStart(): boolean {
    const next = this.#waiting?.peek();
    if (next === undefined || this.#paused) return false;
    switch (this.#receiver.concurrency) {
      case 'concurrent':
        return true;
      case 'exclusive':
        return !this.#writing;
      case 'concurrent-reads':
        if (this.#writing) return false;
        return isRead(next) ? this.#readers < READERS_MAX : this.#readers === 0;
    }
  }

  #start(delivery: Delivery): void {
    const working = this.#receiver.handle(delivery);
    if (working === undefined) {
      delivery.release();
      return;
    }
    const shared =
      this.#receiver.concurrency !== 'exclusive' &&
      (this.#receiver.concurrency === 'concurrent' || isRead(delivery));
    if (shared) this.#readers++;
    else this.#writing = true;
    const generation = this.#generation;
    void working.then(() => {
      delivery.release();
      if (generation !== this.#generation) return;
      if (shared) this.#readers--;
      else this.#writing = false;
      if (!this.#busy) this.#tellIdle();
      this.#wake();
    });
  }

  #tellIdle(): void {
    const waiting = this.#idle ?? [];
    this.#idle = undefined;
    for (const tell of waiting) tell();
  }
}

function isRead({ verb }: Delivery): boolean {
  return verb !== undefined && onlyReads(verb);
}
