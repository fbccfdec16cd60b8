// Messages that a runtime passes on: to the thread or process where one of its services lives, from wherever they come, and from there
// to whom only the runtime reaches. What goes with them moves into this process first, since a tag is worth nothing to anybody
// but who it was sent to. Knows nothing of who may do what.
import { SplitplaneError } from '../errors.js';
import type { Envelope } from '../soap/envelope.js';
import { SoapFault } from '../soap/fault.js';
import { giveBack, lend, type Attached, type Lent, type ResolvedBuffer } from './attached.js';
import { attachedAs, type Answer, type Delivery, type Gift, type Outgoing } from './delivery.js';
import { faultOf } from './fault.js';

/** Messages that are being passed on and were not answered yet. */
const RELAYS_MAX = 10_000;
/** Bytes that are here to be passed on, of what goes to and comes from one peer: as long as one buffer can be. */
const PEER_BYTES_MAX = 4 * 2 ** 30;
/** And of all peers: half of what a runtime has unless it says otherwise, so that they leave the rest to its services. */
const BYTES_MAX = 8 * 2 ** 30;

/** One that is being passed on, between those before and after it. */
interface Turn {
  /** Settles when the one before has been sent. */
  readonly before: Promise<void> | undefined;
  /** To be called when this one has. */
  readonly sent: () => void;
}

export class Relays {
  readonly #request: (out: Outgoing, nodeId: string) => Promise<Answer>;
  /** By where they come from and go to: settles when the last one has been sent. */
  readonly #last = new Map<string, Promise<void>>();
  readonly #room = new Room();
  #count = 0;

  constructor(request: (out: Outgoing, nodeId: string) => Promise<Answer>) {
    this.#request = request;
  }

  /** See Network.relay. The message is answered or refused, and released, in any case. */
  relay(delivery: Delivery, nodeId: string, path: string | undefined): void {
    if (this.#count >= RELAYS_MAX) {
      const reason = `${RELAYS_MAX} messages are being passed on already. Send again when some were answered.`;
      delivery.refuse(SoapFault.dssp('QueuingLimitExceeded', reason));
      delivery.release();
      return;
    }
    this.#count++;
    const way = `${delivery.node ?? ''} ${nodeId}`;
    const before = this.#last.get(way);
    let sent!: () => void;
    const turn = new Promise<void>((resolve) => {
      sent = resolve;
    });
    this.#last.set(way, turn);
    void this.#passOn(delivery, nodeId, path, { before, sent }).finally(() => {
      sent();
      if (this.#last.get(way) === turn) this.#last.delete(way);
      this.#count--;
      delivery.release();
    });
  }

  /** What moves with a message takes its time, and messages are to arrive in the order in which they were sent. */
  async #passOn(
    delivery: Delivery,
    nodeId: string,
    path: string | undefined,
    { before, sent }: Turn,
  ): Promise<void> {
    const { envelope, attached, principal, owner, node, deadlineAt, signal } = delivery;
    try {
      const room = this.#room.of(node ?? '');
      const gifts = attached.length > 0 ? await takeOver(envelope, attached, signal, room) : [];
      if (before !== undefined) await before;
      const sender = { principal, owner, node };
      const judged = path !== undefined;
      const answering = this.#request({ envelope, gifts, sender, deadlineAt, signal, judged }, nodeId);
      sent();
      const answer = await answering;
      try {
        const back = await takeOver(answer.envelope, answer.attached, signal, room);
        delivery.answer(answer.envelope, back, path);
      } finally {
        answer.release();
      }
    } catch (error) {
      delivery.refuse(faultOf(error));
    }
  }
}

/** Takes so many bytes, or gives them back when there are fewer than 0. */
type Charge = (bytes: number) => void;

/** What is here to be passed on. A length is what a peer claims, and memory is set aside before a byte has come. */
class Room {
  readonly #taken = new Map<string, number>();
  #all = 0;

  /** For what is passed on on behalf of one peer. Throws QUOTA_EXCEEDED. */
  of(peer: string): Charge {
    return (bytes) => {
      const taken = (this.#taken.get(peer) ?? 0) + bytes;
      if (bytes > 0 && (taken > PEER_BYTES_MAX || this.#all + bytes > BYTES_MAX)) {
        const limit = taken > PEER_BYTES_MAX ? `${PEER_BYTES_MAX} bytes of one peer` : `${BYTES_MAX} bytes`;
        throw new SplitplaneError(
          'QUOTA_EXCEEDED',
          `At most ${limit} are passed on to and from services in threads and processes at once. Send again when some have arrived.`,
        );
      }
      this.#all += bytes;
      if (taken > 0) this.#taken.set(peer, taken);
      else this.#taken.delete(peer);
    };
  }
}

/** Moves the buffers of a message here, to be passed on: a tag is worth nothing to anybody but who it was sent to. */
async function takeOver(
  envelope: Envelope,
  attached: readonly Attached[],
  signal: AbortSignal,
  charge: Charge,
): Promise<Gift[]> {
  const gifts: Gift[] = [];
  try {
    for (const { cid } of envelope.references) {
      const from = attachedAs({ envelope, attached }, cid);
      if (from === undefined) continue;
      if (from.access !== 'read') {
        throw new SplitplaneError(
          'UNSUPPORTED',
          'A buffer to be written cannot be passed on to another process. Send it for reading.',
        );
      }
      gifts.push({ cid, giving: await takeOne(from, signal, charge) });
    }
    return gifts;
  } catch (error) {
    giveBack(gifts);
    throw error;
  }
}

async function takeOne(from: Attached, signal: AbortSignal, charge: Charge): Promise<Lent> {
  const { length } = from;
  charge(length);
  let resolved: ResolvedBuffer;
  try {
    resolved = await from.resolve({ signal });
  } catch (error) {
    charge(-length);
    throw error;
  }
  return lend(resolved, 'read', () => {
    resolved.release();
    charge(-length);
  });
}
