// Which messages a peer has sent before, by wsa:MessageID: a message that comes again is dropped, so that sending it again
// after a break is safe. Bounded: ids are kept in two generations, and when the younger is full the elder is forgotten.
// (A single set that drops its oldest entry walks over every one dropped before.)
import { createHash } from 'node:crypto';
import { UuidSet } from './uuid-set.js';

/** MessageIDs of each peer that are remembered at least; at most twice as many are. */
export const SEEN_MESSAGES_MIN = 8192;
/** Peers whose messages are remembered. A peer is its node, and so the same after a reconnect. */
export const SEEN_PEERS_MAX = 1024;
/** Messages of each peer that were taken back unhandled and may come again. */
const RETURNED_MAX = 1024;
/** Characters of an id that is kept as it is; of a longer one, which may be as long as an envelope, its digest. */
const KEPT_LENGTH_MAX = 128;

/** Ids of both kinds: those that nearly everybody sends, `urn:uuid:`, and any others. */
class Generation {
  readonly #uuids = new UuidSet(SEEN_MESSAGES_MIN);
  readonly #others = new Set<string>();

  get size(): number {
    return this.#uuids.size + this.#others.size;
  }

  has(id: string, isUuid: boolean): boolean {
    return isUuid ? this.#uuids.has() : this.#others.has(id);
  }

  add(id: string, isUuid: boolean): void {
    if (isUuid) this.#uuids.add();
    else this.#others.add(id);
  }

  clear(): void {
    this.#uuids.clear();
    this.#others.clear();
  }
}

class Generations {
  #younger = new Generation();
  #elder = new Generation();
  /** Ids that have been seen and count as new once more. */
  #returned: Set<string> | undefined;

  add(id: string): boolean {
    const isUuid = UuidSet.read(id);
    // Hashed once: the copy keeps its hash, and looking for `id` itself would compute it another time.
    const key = isUuid ? id : keyOf(id);
    const isReturned = this.#returned?.delete(key) === true;
    if (this.#younger.has(key, isUuid) || this.#elder.has(key, isUuid)) return isReturned;
    this.#younger.add(key, isUuid);
    if (this.#younger.size === SEEN_MESSAGES_MIN) {
      const forgotten = this.#elder;
      forgotten.clear();
      this.#elder = this.#younger;
      this.#younger = forgotten;
    }
    return true;
  }

  return(id: string): void {
    const returned = (this.#returned ??= new Set());
    returned.add(keyOf(id));
    if (returned.size > RETURNED_MAX) returned.delete(returned.values().next().value as string);
  }
}

export class SeenMessages {
  readonly #peers = new Map<string, Generations>();
  #latest: string | undefined;
  #latestSeen: Generations | undefined;

  /** True when this peer has not sent this id before; from then on it has. */
  isNew(peer: string, messageId: string): boolean {
    if (peer !== this.#latest || this.#latestSeen === undefined) {
      // To the end of the line: the peer that has been silent longest is forgotten first.
      const seen = this.#peers.get(peer) ?? new Generations();
      this.#latest = peer;
      this.#latestSeen = seen;
      this.#peers.delete(peer);
      this.#peers.set(peer, seen);
      if (this.#peers.size > SEEN_PEERS_MAX) this.#peers.delete(this.#peers.keys().next().value as string);
    }
    return this.#latestSeen.add(messageId);
  }

  /** Nobody has handled this message, and nobody will: it is new when it comes again, once. */
  return(peer: string, messageId: string): void {
    this.#peers.get(peer)?.return(messageId);
  }
}

/**
 * The same text in memory of its own: what came may be a slice that keeps the whole envelope's text alive. Joining makes new
 * memory as soon as it is sliced.
 */
function keyOf(id: string): string {
  if (id.length > KEPT_LENGTH_MAX) return createHash('sha256').update(id).digest('base64');
  return ` ${id}`.slice(1);
}
