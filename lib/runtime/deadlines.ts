// Deadlines of many requests with one timer: each waits in the slot of time in which it is due. Setting and clearing one costs as much
// as putting something into a set. Knows nothing of what is due.
import { TIMER_MS_MAX } from '../dataplane/operations.js';

/** The width of a slot, and so how late a deadline may be. */
const SLOT_MS = 50;

export interface Expiring {
  /** Called once: after its time, or because nothing will happen any more (`closing`). Must not throw. */
  expire(closing: boolean): void;
}

export class Deadlines {
  readonly #slots = new Map<number, Set<Expiring>>();
  #timer: NodeJS.Timeout | undefined;
  #timerSlot = Infinity;
  #recentSlot = -1;
  #recent: Set<Expiring> | undefined;
  #closed = false;

  /** Puts `what` where it expires at `at` (performance.now() milliseconds). Answers the slot, for clear(). */
  set(what: Expiring, at: number): number {
    if (this.#closed) return -1;
    const slot = Math.ceil(at / SLOT_MS);
    if (slot !== this.#recentSlot || this.#recent === undefined) {
      let members = this.#slots.get(slot);
      if (members === undefined) {
        members = new Set();
        this.#slots.set(slot, members);
      }
      this.#recent = members;
      this.#recentSlot = slot;
    }
    this.#recent.add(what);
    if (slot < this.#timerSlot) this.#arm(slot);
    return slot;
  }

  clear(what: Expiring, slot: number): void {
    if (slot >= 0) this.#slots.get(slot)?.delete(what);
  }

  /** Everything that is still due expires now. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    const due = [...this.#slots.values()];
    this.#slots.clear();
    this.#recent = undefined;
    for (const members of due) for (const member of members) member.expire(true);
  }

  #arm(slot: number): void {
    clearTimeout(this.#timer);
    this.#timerSlot = slot;
    const wait = Math.min(TIMER_MS_MAX, Math.max(1, slot * SLOT_MS - performance.now()));
    this.#timer = setTimeout(() => {
      this.#due();
    }, wait);
  }

  #due(): void {
    this.#timerSlot = Infinity;
    const now = performance.now();
    let next = Infinity;
    for (const [slot, members] of this.#slots) {
      if (slot * SLOT_MS > now) {
        // An empty slot is nobody's deadline: it must not keep the process alive.
        if (members.size === 0) this.#forget(slot);
        else if (slot < next) next = slot;
        continue;
      }
      this.#forget(slot);
      for (const member of members) member.expire(false);
    }
    if (next < this.#timerSlot) this.#arm(next);
  }

  #forget(slot: number): void {
    this.#slots.delete(slot);
    if (slot !== this.#recentSlot) return;
    this.#recentSlot = -1;
    this.#recent = undefined;
  }
}
