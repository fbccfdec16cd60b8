// How many requests of one asker a service handles at once: what waits for an asker, like a digest that it still owes, must not keep
// others from being served. For services that handle their messages beside each other.
import { Fault } from '../fault.js';
import type { Call } from '../service.js';

/** Requests of one asker that are handled at once; the next are refused. */
export const REQUESTS_MAX = 64;

export class Admission {
  readonly #running = new Map<unknown, number>();

  /** Settles as `act` does. Throws Fault QueuingLimitExceeded when this asker has too many under way. */
  async run<T>(
    { connection, from }: Pick<Call, 'connection' | 'from'>,
    act: () => Promise<T> | T,
  ): Promise<T> {
    const asker = connection ?? from;
    const running = this.#running.get(asker) ?? 0;
    if (running >= REQUESTS_MAX) {
      const reason = `${REQUESTS_MAX} requests of this asker are being handled. Wait for an answer before the next.`;
      throw new Fault('QueuingLimitExceeded', reason);
    }
    this.#running.set(asker, running + 1);
    try {
      return await act();
    } finally {
      const now = (this.#running.get(asker) ?? 1) - 1;
      if (now > 0) this.#running.set(asker, now);
      else this.#running.delete(asker);
    }
  }
}
