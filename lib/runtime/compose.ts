// Typed values to messages and back: steps 450 to 456. A body's buffers become references in the header, and the body points at
// them. Knows shapes and envelopes, not who sends them.
import { isCid, type Reference } from '../soap/references.js';
import { Envelope } from '../soap/envelope.js';
import type { XmlElement } from '../soap/infoset.js';
import { checkRange, type BufferSlice } from '../dataplane/memory.js';
import { SplitplaneError } from '../errors.js';
import { givenLength, Lent, type Giving } from './attached.js';
import type { AnyBody } from './contract.js';
import { attachedAs, NO_GIFTS, type Answer, type Gift } from './delivery.js';
import type { Sink, Source } from './shape.js';

/** A body and the buffers that go with it. */
export interface Composed {
  readonly element: XmlElement;
  readonly gifts: readonly Gift[];
}

class GiftSink implements Sink {
  gifts: Gift[] | undefined;

  attach(name: string, giving: Giving): string {
    checkHeld(giving);
    this.gifts ??= [];
    if (!(giving instanceof Lent) && this.gifts.some((gift) => gift.giving === giving)) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `${name} is a buffer that this message gives away already. Lend it, or give another.`,
      );
    }
    // A field may be called like the others' names: those are for buffers that come later.
    const own = this.gifts.length === 0 && isCid(name) && !name.startsWith('buffer-');
    const cid = own ? name : `buffer-${this.gifts.length}`;
    this.gifts.push({ cid, giving });
    return cid;
  }
}

/** Throws REGION_RELEASED and INVALID_ARGUMENT for what cannot be given, here and now, and not where it arrives. */
function checkHeld(giving: Giving): void {
  if (!(giving instanceof Lent)) checkSlice(giving);
  else if ('buffer' in giving.slices) checkSlice(giving.slices);
  else giving.slices.forEach(checkSlice);
}

function checkSlice({ buffer, offset, length }: BufferSlice): void {
  if (buffer.released) {
    throw new SplitplaneError('REGION_RELEASED', 'This buffer was released. Send it before that.');
  }
  checkRange(offset, length, buffer.length);
}

/**
 * Writes a value. Throws INVALID_ARGUMENT when it is not of this shape, REGION_RELEASED for a buffer that was released; then its
 * buffers are still the caller's.
 */
export function compose(shape: AnyBody, namespace: string, value: unknown): Composed {
  const sink = new GiftSink();
  const element = shape.encode(namespace, value, sink);
  return { element, gifts: sink.gifts ?? NO_GIFTS };
}

/** The references to what goes with a message, for its header. */
export function referencesTo(gifts: readonly Gift[]): readonly Reference[] | undefined {
  if (gifts.length === 0) return undefined;
  return gifts.map(({ cid, giving }) => ({
    cid,
    tag: undefined,
    lengthBytes: givenLength(giving),
    access: giving instanceof Lent ? giving.access : 'read',
  }));
}

/** A request with this body. */
export function requestOf(to: string, action: string, { element, gifts }: Composed): Envelope {
  return Envelope.of({ to, action, body: element, references: referencesTo(gifts) });
}

/** Where the buffers of a message's body come from. */
export function sourceOf(message: Pick<Answer, 'envelope' | 'attached'>): Source {
  return (cid) => attachedAs(message, cid);
}
