// What arrived and waits for somebody to take it: messages, or batches. Taking one gives its sender's credit back; the window
// of credits is what bounds this queue.
import type { Connection } from './connection.js';
import { Fifo } from './fifo.js';

/** A message, or a batch. */
export interface Arrival {
  readonly connection: Connection;
  /** The engine's number for it on its connection. */
  readonly id: number;
}

interface Waiting<T> {
  readonly arrival: T;
  readonly byteCount: number;
}

export class ArrivalQueue<T extends Arrival> implements AsyncIterable<T, undefined> {
  readonly #waiting = new Fifo<Waiting<T>>();
  readonly #takers = new Fifo<(result: IteratorResult<T, undefined>) => void>();
  readonly #consume: (session: number, count: number, bytes: number) => void;
  #closed = false;

  constructor(consume: (session: number, count: number, bytes: number) => void) {
    this.#consume = consume;
  }

  push(arrival: T, byteCount: number): void {
    const taker = this.#takers.shift();
    if (taker === undefined) {
      this.#waiting.push({ arrival, byteCount });
      return;
    }
    this.#consume(arrival.connection.session, 1, byteCount);
    taker({ value: arrival, done: false });
  }

  /** Takes out, of what nobody has yet, what its senders do not want handled any more. */
  withdraw(isCanceled: (connection: Connection, id: number) => boolean): T[] {
    const taken = this.#waiting.removeAll(({ arrival }) => isCanceled(arrival.connection, arrival.id));
    return taken.map(({ arrival, byteCount }) => {
      this.#consume(arrival.connection.session, 1, byteCount);
      return arrival;
    });
  }

  /** What waits of one connection goes to `other`, in its order. */
  move(connection: Connection, other: ArrivalQueue<T>): void {
    const moved = this.#waiting.removeAll(({ arrival }) => arrival.connection === connection);
    for (const { arrival, byteCount } of moved) other.push(arrival, byteCount);
  }

  /** Takers get what is left, then the end. */
  close(): void {
    this.#closed = true;
    for (let taker = this.#takers.shift(); taker !== undefined; taker = this.#takers.shift()) {
      taker({ value: undefined, done: true });
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return {
      next: () => this.#next(),
      // Leaving a loop early leaves the queue to the next one.
      return: () => Promise.resolve({ value: undefined, done: true }),
    };
  }

  #next(): Promise<IteratorResult<T, undefined>> {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      this.#consume(waiting.arrival.connection.session, 1, waiting.byteCount);
      return Promise.resolve({ value: waiting.arrival, done: false });
    }
    if (this.#closed) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => {
      this.#takers.push(resolve);
    });
  }
}
