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
import { checkCids, REFERENCES_MAX, type Reference } from '../soap/references.js';

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
  /** Attachments. */
  readonly count: number;
  /** Payload of each attachment that goes inline, undefined for one by reference; empty when all do. */
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
 * Makes the tags and puts the references into the envelope's header. `audience` may use what says nothing else. Throws
 * LIMIT_EXCEEDED when there are more than REFERENCES_MAX. When it throws, no tag is left.
 */
export function separate(
  dataplane: Dataplane,
  audience: Audience,
  envelope: Envelope,
  attachables: readonly Attachable[],
  inlineBytesMax: number,
): Separated {
  if (attachables.length === 0) return { envelope, count: 0, inline: NOTHING, exposures: NOTHING };
  if (attachables.length > REFERENCES_MAX) {
    throw new SplitplaneError(
      'LIMIT_EXCEEDED',
      `A message refers to ${REFERENCES_MAX} buffers at most, not ${attachables.length}. Join some: an attachment may be several slices.`,
    );
  }
  // Of their final length: what grows takes room for seventeen.
  const references = new Array<Reference>(attachables.length);
  let inline: (readonly BufferSlice[] | undefined)[] | undefined;
  let exposures: Exposure[] | undefined;
  try {
    for (let index = 0; index < attachables.length; index++) {
      const item = attachables[index] as Attachable;
      const cid = ('cid' in item ? item.cid : undefined) ?? defaultCid(index);
      if (item instanceof Exposure) {
        references[index] = { cid, tag: item.tag, lengthBytes: item.length, access: item.access };
        continue;
      }
      const slices = slicesOf(item);
      const options = isSlice(item) ? NO_OPTIONS : item;
      const { access = 'read' } = options;
      const lengthBytes = totalLength(slices);
      if (access === 'read' && lengthBytes <= inlineBytesMax && goesInline(slices, options)) {
        references[index] = { cid, tag: undefined, lengthBytes, access };
        (inline ??= new Array<undefined>(attachables.length))[index] = 'buffer' in slices ? [slices] : slices;
        continue;
      }
      const { uses, expiresMs } = options;
      const shown = { access, audience: options.audience ?? audience, uses, expiresMs };
      const exposure = dataplane.expose(slices, shown);
      if (exposures === undefined) exposures = [exposure];
      else exposures.push(exposure);
      references[index] = { cid, tag: exposure.tag, lengthBytes, access };
    }
    checkCids(references);
    return {
      envelope: envelope.withMadeReferences(references),
      count: references.length,
      inline: inline ?? NOTHING,
      exposures: exposures ?? NOTHING,
    };
  } catch (error) {
    for (const exposure of exposures ?? NOTHING) exposure.revoke();
    throw error;
  }
}

const NO_OPTIONS: Partial<Attachment> = {};
const DEFAULT_CIDS = Array.from({ length: 16 }, (_, index) => `buffer-${index}`);

function defaultCid(index: number): string {
  return DEFAULT_CIDS[index] ?? `buffer-${index}`;
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
  const { envelope, count, inline } = separated;
  const envelopeBytes = serializer.encodeInto(envelope, arena, 0);
  let at = envelopeBytes;
  for (let index = 0; index < count; index++) {
    const slices = inline[index];
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
    dataplane.putAttachment(index, slices === undefined ? -1 : at - from);
  }
  return dataplane.send(session, envelopeBytes, count, deadlineMs);
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
