// The memory that TypeScript and the addon both see: the ring of event descriptors, the arena that received messages lie
// in, the arena that messages are encoded into, and the block for arguments that are not numbers. Layouts mirror
// native/addon/event_ring.h and hot_calls.cc.

/** Doubles in an event descriptor, descriptors in the ring. */
export const EVENT_WORDS = 8;
export const EVENTS_MAX = 1024;
/** Words of 32 bits in an attachment's row: is inline, offset in the arena, length. */
export const ATTACHMENT_WORDS = 3;

const OPERANDS_AT = 32;
const LIST_AT = 64;
const TAG_BYTES = 32;
/** Doubles in a slice: handle, offset, length. */
const SLICE_WORDS = 3;
/** Slices in one call, and so in one tag or transfer (kSlicesPerTagMax). */
export const SLICES_MAX = 1024;
/** Tags that one releaseTags call takes. */
export const RELEASED_TAGS_MAX = 512;
const CALL_BYTES = LIST_AT + SLICES_MAX * SLICE_WORDS * 8;
/** Room for many small messages that arrive in one batch. */
const RECEIVE_BYTES_MIN = 4 << 20;
/** Beside one message, its attachment table. */
const TABLE_BYTES_MAX = 1024 * ATTACHMENT_WORDS * 4 + 4;

export class SharedBlocks {
  readonly blocks;
  /** Event descriptors. */
  readonly events: Float64Array;
  /** Messages that arrived in this batch, their attachment tables as 32-bit words. */
  readonly receive: Buffer;
  readonly receiveWords: Uint32Array;
  /** The message to be sent: its envelope, then inline payloads. */
  readonly send: Buffer;
  /** The same, as the lengths that a batch begins with. Host order is the wire's: the addon is little-endian only. */
  readonly sendLengths: Uint16Array;
  readonly #call: Buffer;
  readonly #list: Float64Array;
  readonly #operands: BigUint64Array;
  /** What the call block's place for a tag holds. */
  #tag: string | undefined;

  constructor(messageBytesMax: number) {
    const receiveBytes = Math.max(RECEIVE_BYTES_MIN, messageBytesMax + TABLE_BYTES_MAX);
    this.blocks = {
      events: new ArrayBuffer(EVENT_WORDS * EVENTS_MAX * 8),
      receive: new ArrayBuffer(receiveBytes + (8 - (receiveBytes % 8))),
      send: new ArrayBuffer(messageBytesMax),
      call: new ArrayBuffer(CALL_BYTES),
    };
    this.events = new Float64Array(this.blocks.events);
    this.receive = Buffer.from(this.blocks.receive);
    this.receiveWords = new Uint32Array(this.blocks.receive);
    this.send = Buffer.from(this.blocks.send);
    this.sendLengths = new Uint16Array(this.blocks.send, 0, messageBytesMax >> 1);
    this.#call = Buffer.from(this.blocks.call);
    this.#list = new Float64Array(this.blocks.call, LIST_AT);
    this.#operands = new BigUint64Array(this.blocks.call, OPERANDS_AT, 2);
  }

  /** Puts slice `index` of the next call, by the handle that the addon knows its buffer by. */
  putSlice(index: number, handle: number, offset: number, length: number): void {
    const at = index * SLICE_WORDS;
    this.#list[at] = handle;
    this.#list[at + 1] = offset;
    this.#list[at + 2] = length;
  }

  /** Puts the length of attachment `index` of the message to be sent, -1 for one by reference. */
  putAttachment(index: number, inlineBytes: number): void {
    this.#list[index] = inlineBytes;
  }

  /** Puts the tag of the next call, in its text form. */
  putTag(tag: string): void {
    // Most operations are on the tag of the last one, and decoding costs as much as the call.
    if (tag === this.#tag) return;
    this.#tag = tag;
    this.#call.write(tag, 0, TAG_BYTES, 'base64url');
  }

  /** Puts tag `index` of a releaseTags call. */
  putReleasedTag(index: number, tag: string): void {
    this.#call.write(tag, LIST_AT + index * TAG_BYTES, TAG_BYTES, 'base64url');
  }

  /** The text form of the tag that the last call left. */
  takeTag(): string {
    this.#tag = this.#call.toString('base64url', 0, TAG_BYTES);
    return this.#tag;
  }

  /** Puts the operands of an atomic. */
  putOperands(operand: bigint, compare: bigint): void {
    this.#operands[0] = operand;
    this.#operands[1] = compare;
  }

  /** Where the last allocation lies: its region and the offset there. */
  get allocatedRegion(): number {
    return this.#list[0] ?? 0;
  }
  get allocatedOffset(): number {
    return this.#list[1] ?? 0;
  }
}
