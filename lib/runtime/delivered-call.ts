// What a handler gets: a delivery as it should see it. Knows nothing of how messages come and go.
import type { Delivery } from './delivery.js';
import type { Call } from './service.js';

export class DeliveredCall implements Call {
  readonly body: unknown;
  readonly #delivery: Delivery;

  constructor(delivery: Delivery, body: unknown) {
    this.#delivery = delivery;
    this.body = body;
  }

  get from(): string {
    return this.#delivery.principal;
  }

  /** Made when somebody wants it: for a small message it is what costs most. */
  get signal(): AbortSignal {
    return this.#delivery.signal;
  }

  get deadlineAt(): number {
    return this.#delivery.deadlineAt;
  }

  get connection(): Call['connection'] {
    return this.#delivery.connection;
  }
}
