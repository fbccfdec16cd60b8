// Keeps the event loop turning while a program does nothing but what ends at once. A promise that is settled already goes on in
// a microtask, so a loop that awaits only such promises would never let the loop come to its sockets and timers, and the
// peers would take this side for dead. Knows nothing of what ends.

/** So many in a row go on at once; the next waits for a turn of the loop, which costs about as much as ten of them. */
export const AT_ONCE_MAX = 256;

export class Turns {
  #count = 0;
  #waiting = false;

  /** Notes something that ended at once. Answers what to wait for before telling, if it is time. */
  spend(): Promise<void> | undefined {
    if (!this.#waiting) {
      this.#waiting = true;
      setImmediate(() => {
        this.#waiting = false;
        this.#count = 0;
      });
    }
    if (++this.#count <= AT_ONCE_MAX) return undefined;
    return new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}
