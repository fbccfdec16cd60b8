// Which messages a peer has sent before, by wsa:MessageID: a message that comes again is dropped, so that sending it again
// after a break is safe. Bounded: ids are kept in two generations, and when the younger is full the elder is forgotten.
// (A single set that drops its oldest entry walks over every one dropped before.)

/** MessageIDs of each peer that are remembered at least; at most twice as many are. */
export const SEEN_MESSAGES_MIN = 8192;
/** Peers whose messages are remembered. A peer is its node, and so the same after a reconnect. */
export const SEEN_PEERS_MAX = 1024;

class Generations {
  #younger = new Set<string>();
  #elder = new Set<string>();

  add(id: string): boolean {
    // Hashed once: the copy keeps its hash, and looking for `id` itself would compute it another time.
    const copy = copyOf(id);
    if (this.#younger.has(copy) || this.#elder.has(copy)) return false;
    this.#younger.add(copy);
    if (this.#younger.size === SEEN_MESSAGES_MIN) {
      this.#elder = this.#younger;
      this.#younger = new Set();
    }
    return true;
  }
}

export class SeenMessages {
  readonly #peers = new Map<string, Generations>();
  #latest: string | undefined;

  /** True when this peer has not sent this id before; from then on it has. */
  isNew(peer: string, messageId: string): boolean {
    const seen = this.#peers.get(peer) ?? new Generations();
    if (peer !== this.#latest) {
      // To the end of the line: the peer that has been silent longest is forgotten first.
      this.#latest = peer;
      this.#peers.delete(peer);
      this.#peers.set(peer, seen);
      if (this.#peers.size > SEEN_PEERS_MAX) this.#peers.delete(this.#peers.keys().next().value as string);
    }
    return seen.add(messageId);
  }
}

/**
 * The same text in memory of its own: what came may be a slice that keeps the whole envelope's text alive. Joining makes new
 * memory as soon as it is sliced.
 */
function copyOf(text: string): string {
  return ` ${text}`.slice(1);
}
