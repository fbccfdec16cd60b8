// Messages and batches whose senders do not want them handled any more. A queue is looked through once for all that came
// together: cancelling needs no credit, and once for each would be a lot of looking for little.
import type { Connection } from './connection.js';

export class Withdrawals {
  readonly #canceled = new Map<Connection, Set<number>>();
  readonly #sweep: (isCanceled: (connection: Connection, id: number) => boolean) => void;

  /** `sweep` takes out of the queues what it is told is canceled. */
  constructor(sweep: (isCanceled: (connection: Connection, id: number) => boolean) => void) {
    this.#sweep = sweep;
  }

  /** Taken out by the end of this turn of the event loop. */
  add(connection: Connection, id: number): void {
    if (this.#canceled.size === 0) {
      queueMicrotask(() => {
        this.settle();
      });
    }
    const ids = this.#canceled.get(connection);
    if (ids === undefined) this.#canceled.set(connection, new Set([id]));
    else ids.add(id);
  }

  /** Now. */
  settle(): void {
    if (this.#canceled.size === 0) return;
    this.#sweep((connection, id) => this.#canceled.get(connection)?.has(id) === true);
    this.#canceled.clear();
  }
}
