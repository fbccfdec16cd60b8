// At most so many things at once, and of each asker at most so many; the others wait in the order in which they came. An asker that has
// none may always have one: what others do not let go of keeps nobody from going on.

interface Waiting {
  readonly asker: unknown;
  readonly go: () => void;
}

export class Limiter {
  readonly #max: number;
  readonly #askerMax: number;
  readonly #taken = new Map<unknown, number>();
  #count = 0;
  #waiting: Waiting[] = [];

  constructor(max: number, askerMax: number) {
    this.#max = max;
    this.#askerMax = askerMax;
  }

  /** Settles as `act` does. */
  async run<T>(asker: unknown, act: () => Promise<T>): Promise<T> {
    if (this.#mayTake(asker)) this.#take(asker, 1);
    else await new Promise<void>((go) => this.#waiting.push({ asker, go }));
    try {
      return await act();
    } finally {
      this.#take(asker, -1);
      this.#startNext();
    }
  }

  #mayTake(asker: unknown): boolean {
    const taken = this.#taken.get(asker) ?? 0;
    return taken === 0 || (taken < this.#askerMax && this.#count < this.#max);
  }

  #take(asker: unknown, count: number): void {
    this.#count += count;
    const taken = (this.#taken.get(asker) ?? 0) + count;
    if (taken > 0) this.#taken.set(asker, taken);
    else this.#taken.delete(asker);
  }

  #startNext(): void {
    this.#waiting = this.#waiting.filter(({ asker, go }) => {
      if (!this.#mayTake(asker)) return true;
      this.#take(asker, 1);
      go();
      return false;
    });
  }
}
