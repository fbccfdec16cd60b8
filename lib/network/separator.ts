// The control/data-plane separator. Going out it turns buffers into references in the envelope and, beside it, tags or
// inline payloads; coming in it joins them again. The envelope never holds payload bytes.
import type { Dataplane } from '../dataplane/dataplane.js';
import type { ArrivedMessage } from '../dataplane/events.js';
import { Exposure, type Access, type Audience } from '../dataplane/exposure.js';
import { totalLength, type BufferSlice, type BufferSlices } from '../dataplane/memory.js';
import type { RemoteBuffer } from '../dataplane/remote.js';
import { SplitplaneError } from '../errors.js';
import type { Serializer } from '../serializer/registry.js';
import type { Envelope } from '../soap/envelope.js';
import { MessageRefusedError } from '../soap/fault.js';
import { REFERENCES_MAX, type Reference } from '../soap/references.js';

/** A buffer that goes with a message, and how. */
export interface Attachment {
  /** What to send, or where the receiver may write: one slice, or several that count as one range of bytes. */
  readonly buffer: BufferSlices;
  /** The name the body uses in xop:Include; `buffer-INDEX` when left out. */
  readonly cid?: string | undefined;
  /** What the receiver may do; `read` when left out. */
  readonly access?: Access | undefined;
  /** How many operations may use it, 1 when left out. */
  readonly uses?: number | undefined;
  /** Milliseconds until the receiver can no longer resolve it. */
  readonly expiresMs?: number | undefined;
  /** Who may resolve it; the receiving connection alone when left out. Say `{ bearer: true }` to allow forwarding. */
  readonly audience?: Audience | undefined;
}

/** A buffer or slice stands for an attachment that may be read once; an exposure for one whose tag exists already. */
export type Attachable = BufferSlice | Attachment | Exposure;

/** A message ready to be queued. */
export interface Separated {
  readonly envelope: Envelope;
  /** Payload of each attachment that goes inline; undefined for one by reference. */
  readonly inline: readonly (readonly BufferSlice[] | undefined)[];
  /** Tags that were made for this message and end with it. */
  readonly exposures: readonly Exposure[];
}

const NOTHING: readonly never[] = [];

/** Total bytes that the attachments stand for. */
export function attachedBytes(attachables: readonly Attachable[]): number {
  return attachables.reduce(
    (sum, item) => sum + (item instanceof Exposure ? item.length : totalLength(slicesOf(item))),
    0,
  );
}

/**
 * Makes the tags and puts the references into the envelope's header. Throws LIMIT_EXCEEDED when there are more than
 * REFERENCES_MAX. When it throws, no tag is left.
 */
export function separate(
  dataplane: Dataplane,
  session: number,
  envelope: Envelope,
  attachables: readonly Attachable[],
  inlineBytesMax: number,
): Separated {
  if (attachables.length === 0) return { envelope, inline: NOTHING, exposures: NOTHING };
  if (attachables.length > REFERENCES_MAX) {
    throw new SplitplaneError(
      'LIMIT_EXCEEDED',
      `A message refers to ${REFERENCES_MAX} buffers at most, not ${attachables.length}. Join some: an attachment may be several slices.`,
    );
  }
  const references: Reference[] = [];
  const inline: (readonly BufferSlice[] | undefined)[] = [];
  const exposures: Exposure[] = [];
  try {
    attachables.forEach((item, index) => {
      const cid = ('cid' in item ? item.cid : undefined) ?? `buffer-${index}`;
      if (item instanceof Exposure) {
        references.push({ cid, tag: item.tag, lengthBytes: item.length, access: item.access });
        inline.push(undefined);
        return;
      }
      const slices = slicesOf(item);
      const options: Partial<Attachment> = isSlice(item) ? {} : item;
      const access = options.access ?? 'read';
      const lengthBytes = totalLength(slices);
      if (access === 'read' && lengthBytes <= inlineBytesMax && goesInline(slices, options)) {
        references.push({ cid, tag: undefined, lengthBytes, access });
        inline.push('buffer' in slices ? [slices] : slices);
        return;
      }
      const audience = options.audience ?? { session };
      const { uses, expiresMs } = options;
      const exposure = dataplane.expose(slices, { access, audience, uses, expiresMs });
      exposures.push(exposure);
      references.push({ cid, tag: exposure.tag, lengthBytes, access });
      inline.push(undefined);
    });
    return { envelope: envelope.withReferences(references), inline, exposures };
  } catch (error) {
    for (const exposure of exposures) exposure.revoke();
    throw error;
  }
}

/**
 * Encodes a separated message into the send arena and queues it. Answers its id, 0 when the queue is full. Throws
 * LIMIT_EXCEEDED when it does not fit.
 */
export function enqueue(
  dataplane: Dataplane,
  session: number,
  serializer: Serializer,
  separated: Separated,
  deadlineMs: number,
): number {
  const arena = dataplane.sendArena;
  const envelopeBytes = serializer.encodeInto(separated.envelope, arena, 0);
  let at = envelopeBytes;
  const lengths: number[] = [];
  for (const slices of separated.inline) {
    const from = at;
    for (const { buffer, offset, length } of slices ?? NOTHING) {
      if (at + length > arena.length) {
        throw new SplitplaneError(
          'LIMIT_EXCEEDED',
          `The message and its inline buffers exceed ${arena.length} bytes. Lower inlineBytesMax or raise messageBytesMax.`,
        );
      }
      buffer.bytes.copy(arena, at, offset, offset + length);
      at += length;
    }
    lengths.push(slices === undefined ? -1 : at - from);
  }
  return dataplane.send(session, envelopeBytes, lengths, deadlineMs);
}

/** What the references of a message that arrived stand for. Throws MessageRefusedError when they do not fit its frame. */
export function join(
  dataplane: Dataplane,
  envelope: Envelope,
  arrived: ArrivedMessage,
): readonly RemoteBuffer[] {
  const { references } = envelope;
  if (references.length !== arrived.attachmentCount) {
    throw MessageRefusedError.sender(
      `The header lists ${references.length} references and the frame brings ${arrived.attachmentCount}. Send as many.`,
    );
  }
  if (references.length === 0) return NOTHING;
  return references.map(({ tag, lengthBytes, access }, index) => {
    const inline = arrived.takeInline(index);
    if (
      (inline === undefined) !== (tag !== undefined) ||
      (inline !== undefined && inline.length !== lengthBytes)
    ) {
      throw MessageRefusedError.sender(
        `Reference ${index} and what came with the message contradict each other. Send a tag or the bytes, not both.`,
      );
    }
    return dataplane.remote(arrived.session, { tag, length: lengthBytes, access, inline });
  });
}

function isSlice(item: BufferSlice | Attachment): item is BufferSlice {
  return 'offset' in item;
}

function slicesOf(item: BufferSlice | Attachment): BufferSlices {
  return isSlice(item) ? item : item.buffer;
}

/** A file has no bytes in memory, and whoever asked for uses, an expiry or an audience wants a tag. */
function goesInline(slices: BufferSlices, options: Partial<Attachment>): boolean {
  if (options.uses !== undefined || options.expiresMs !== undefined || options.audience !== undefined)
    return false;
  const list = 'buffer' in slices ? [slices] : slices;
  return list.every(({ buffer }) => buffer.inMemory);
}
