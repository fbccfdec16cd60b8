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
      const gifts = attached.length > 0 ? await takeOver(envelope, attached, signal) : [];
      if (before !== undefined) await before;
      const sender = { principal, owner, node };
      const judged = path !== undefined;
      const answering = this.#request({ envelope, gifts, sender, deadlineAt, signal, judged }, nodeId);
      sent();
      const answer = await answering;
      try {
        const back = await takeOver(answer.envelope, answer.attached, signal);
        delivery.answer(answer.envelope, back, path);
      } finally {
        answer.release();
      }
    } catch (error) {
      delivery.refuse(faultOf(error));
    }
  }
}

/** Moves the buffers of a message here, to be passed on: a tag is worth nothing to anybody but who it was sent to. */
async function takeOver(
  envelope: Envelope,
  attached: readonly Attached[],
  signal: AbortSignal,
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
      gifts.push({ cid, giving: owned(await from.resolve({ signal })) });
    }
    return gifts;
  } catch (error) {
    giveBack(gifts);
    throw error;
  }
}

function owned(resolved: ResolvedBuffer): Lent {
  return lend(resolved, 'read', () => {
    resolved.release();
  });
}
