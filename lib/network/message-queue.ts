// The messages that wait for somebody to take them. Taking one gives its sender's credit back; the window of credits is
// what bounds this queue.
import type { Connection } from './connection.js';
import { Fifo } from './fifo.js';
import type { Message } from './message.js';

interface Waiting {
  readonly message: Message;
  readonly byteCount: number;
}

export class MessageQueue implements AsyncIterable<Message, undefined> {
  readonly #waiting = new Fifo<Waiting>();
  readonly #takers = new Fifo<(result: IteratorResult<Message, undefined>) => void>();
  readonly #consume: (session: number, count: number, bytes: number) => void;
  #closed = false;

  constructor(consume: (session: number, count: number, bytes: number) => void) {
    this.#consume = consume;
  }

  push(message: Message, byteCount: number): void {
    const taker = this.#takers.shift();
    if (taker === undefined) {
      this.#waiting.push({ message, byteCount });
      return;
    }
    this.#consume(message.connection.session, 1, byteCount);
    taker({ value: message, done: false });
  }

  /** The sender does not want it any more, and nobody has it yet. */
  withdraw(connection: Connection, id: number): void {
    const taken = this.#waiting.remove(
      ({ message }) => message.connection === connection && message.id === id,
    );
    if (taken === undefined) return;
    this.#consume(connection.session, 1, taken.byteCount);
    taken.message.release();
  }

  /** Takers get what is left, then the end. */
  close(): void {
    this.#closed = true;
    for (let taker = this.#takers.shift(); taker !== undefined; taker = this.#takers.shift()) {
      taker({ value: undefined, done: true });
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<Message, undefined> {
    return {
      next: () => this.#next(),
      // Leaving a loop early leaves the queue to the next one.
      return: () => Promise.resolve({ value: undefined, done: true }),
    };
  }

  #next(): Promise<IteratorResult<Message, undefined>> {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      this.#consume(waiting.message.connection.session, 1, waiting.byteCount);
      return Promise.resolve({ value: waiting.message, done: false });
    }
    if (this.#closed) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => {
      this.#takers.push(resolve);
    });
  }
}
