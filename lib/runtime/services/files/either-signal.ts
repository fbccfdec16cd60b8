// One signal that aborts when either of two does. AbortSignal.any() leaves something of each signal that it made with the one that lasts
// longer; this one lets go of both.

export class EitherSignal implements Disposable {
  readonly #controller = new AbortController();
  readonly #of: readonly AbortSignal[];

  constructor(...of: readonly [AbortSignal, AbortSignal]) {
    this.#of = of;
    for (const signal of of) {
      if (signal.aborted) this.#controller.abort(signal.reason);
      else signal.addEventListener('abort', this.#abort);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    for (const signal of this.#of) signal.removeEventListener('abort', this.#abort);
  }

  readonly #abort = ({ target }: Event): void => {
    this.#controller.abort((target as AbortSignal).reason);
  };
}
