// Which messages a peer has sent before, by wsa:MessageID: a message that comes again is dropped, so that sending it again
// after a break is safe. Bounded: the oldest are forgotten first.

/** MessageIDs remembered for each peer. */
export const SEEN_MESSAGES_MAX = 16_384;
/** Peers whose messages are remembered, those silent longest forgotten first. A peer is its node: the same after a reconnect. */
export const SEEN_PEERS_MAX = 1024;

export class SeenMessages {
  readonly #peers = new Map<string, Set<string>>();

  /** True when this peer has not sent this id before; from then on it has. */
  isNew(peer: string, messageId: string): boolean {
    const ids = this.#idsOf(peer);
    if (ids.has(messageId)) return false;
    // Copied: the string may be a slice that keeps the whole envelope's text alive.
    ids.add(Buffer.from(messageId).toString());
    if (ids.size > SEEN_MESSAGES_MAX) dropOldest(ids);
    return true;
  }

  #idsOf(peer: string): Set<string> {
    const ids = this.#peers.get(peer) ?? new Set();
    // Inserted anew at each use, so that a peer that is talking is never the oldest.
    this.#peers.delete(peer);
    this.#peers.set(peer, ids);
    if (this.#peers.size > SEEN_PEERS_MAX) dropOldest(this.#peers);
    return ids;
  }
}

/** Maps and sets iterate in the order of insertion. */
function dropOldest(from: { keys(): IterableIterator<string>; delete(key: string): boolean }): void {
  const { value } = from.keys().next() as { value: string };
  from.delete(value);
}
