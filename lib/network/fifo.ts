// First in, first out, in constant time: an array's shift() moves every element once it is long.

/** Removed slots are given back when there are this many and they are the larger half. */
const COMPACT_AT = 1024;

export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    } else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Takes out the first item that `matches`, wherever it stands. */
  remove(matches: (item: T) => boolean): T | undefined {
    for (let i = this.#head; i < this.#items.length; i++) {
      const item = this.#items[i] as T;
      if (!matches(item)) continue;
      if (i === this.#head) return this.shift();
      this.#items.splice(i, 1);
      return item;
    }
    return undefined;
  }

  /** Takes out every item that `matches`, in their order. */
  removeAll(matches: (item: T) => boolean): T[] {
    const removed: T[] = [];
    const kept = (this.#items.slice(this.#head) as T[]).filter(
      (item) => !matches(item) || !removed.push(item),
    );
    this.#items = kept;
    this.#head = 0;
    return removed;
  }
}
