// The rate of a counter that only grows, over the last updates. A counter of which an update says nothing did not move, so
// thousands of idle ones cost nothing. Knows neither the network nor the document.

/** How many updates a graph shows. */
export const HISTORY_LENGTH = 60;

/** The update that is being shown, shared by all meters. */
export interface Clock {
  /** Grows by one with each update. */
  turn: number;
  /** Between this update and the one before; 0 when there was none. */
  seconds: number;
}

export class Meter {
  readonly #clock: Clock;
  /** The turn of the first reading: rates are known from the next one on. */
  readonly #first: number;
  #count: number;
  /** A ring by turn, made when there is something to remember. */
  #rates: Float64Array | undefined;
  /** The last turn that is in the ring. */
  #last: number;

  constructor(clock: Clock, count: number) {
    this.#clock = clock;
    this.#count = count;
    this.#first = clock.turn;
    this.#last = clock.turn;
  }

  /** Takes a reading in this turn. A counter that went back began anew, and has no rate in this turn. */
  read(count: number): void {
    const { turn, seconds } = this.#clock;
    const rate = seconds > 0 ? Math.max(0, count - this.#count) / seconds : 0;
    this.#count = count;
    if (this.#rates === undefined && rate === 0) return;
    const rates = (this.#rates ??= new Float64Array(HISTORY_LENGTH));
    for (let t = Math.max(this.#last + 1, turn - HISTORY_LENGTH); t < turn; t++)
      rates[t % HISTORY_LENGTH] = 0;
    rates[turn % HISTORY_LENGTH] = rate;
    this.#last = turn;
  }

  /** The last reading. */
  get total(): number {
    return this.#count;
  }

  /** A second, in this turn. */
  get rate(): number {
    return this.#at(this.#clock.turn);
  }

  /** The rates of the last turns, oldest first. */
  history(): number[] {
    const { turn } = this.#clock;
    const length = Math.min(HISTORY_LENGTH, turn - this.#first);
    return Array.from({ length }, (_, index) => this.#at(turn - length + 1 + index));
  }

  #at(turn: number): number {
    // Later than the last reading nothing moved; and the ring has forgotten what is older than it is long.
    const known = turn <= this.#last && turn > this.#last - HISTORY_LENGTH;
    return known ? (this.#rates?.[turn % HISTORY_LENGTH] ?? 0) : 0;
  }
}
