// Keeps the event loop turning while a program does nothing but what ends at once. A promise that is settled already goes on in
// a microtask, so a loop that awaits only such promises would never let the loop come to its sockets and timers, and the
// peers would take this side for dead. Knows nothing of what ends.

/** One in so many waits for a turn of the loop, which costs about as much as ten that do not. */
export const AT_ONCE_MAX = 256;

export class Turns {
  #count = 0;
  #turn: Promise<void> | undefined;

  /** Notes something that ended at once. Answers what to wait for before telling, if it is time. */
  spend(): Promise<void> | undefined {
    if (++this.#count <= AT_ONCE_MAX) return undefined;
    this.#turn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#count = 0;
        this.#turn = undefined;
        resolve();
      });
    });
    return this.#turn;
  }
}
