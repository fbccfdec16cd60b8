// Reads the descriptors of a batch of events and calls the handler for each. Mirrors native/addon/event_ring.h. The bytes
// of a message are valid during the call of its handler only.
import type { NativeHello } from './native.js';
import { ATTACHMENT_WORDS, EVENT_WORDS, type SharedBlocks } from './shared-blocks.js';

/** A message as it lies in the receive arena. Valid during the handler's call only. */
export interface ArrivedMessage {
  readonly session: number;
  readonly id: number;
  readonly envelope: Uint8Array;
  readonly attachmentCount: number;
  readonly deadlineMs: number;
  /** Bytes that count against the window: envelope and inline payloads. */
  readonly byteCount: number;
  /** Payload of attachment `index` if it came inline; copied, because the arena is reused. */
  takeInline(index: number): Buffer | undefined;
}

export interface EventHandler {
  hello(session: number, hello: NativeHello): void;
  open(session: number): void;
  message(message: ArrivedMessage): void;
  /** `content` is valid during the call only: the length of each message in two bytes, then the messages. */
  batch(session: number, id: number, count: number, content: Buffer): void;
  messageCanceled(session: number, message: number): void;
  delivered(session: number, upTo: number): void;
  writable(session: number): void;
  /** `low` and `high` are the halves of the word that an atomic found. */
  operation(operation: number, code: number, low: number, high: number, error: Error | undefined): void;
  notified(cookie: number): void;
  tagEnded(cookie: number, code: number): void;
  interrupted(session: number, why: Error): void;
  resumed(session: number): void;
  closed(session: number, why: Error): void;
  regionGone(region: number): void;
}

class Arrived implements ArrivedMessage {
  session = 0;
  id = 0;
  attachmentCount = 0;
  deadlineMs = 0;
  byteCount = 0;
  envelope: Uint8Array = new Uint8Array(0);
  #table = 0;
  readonly #memory: SharedBlocks;

  constructor(memory: SharedBlocks) {
    this.#memory = memory;
  }

  /** Points this at the message of the descriptor at `at`. One object serves all messages of a batch in turn. */
  load(events: Float64Array, at: number): this {
    this.session = events[at + 1] as number;
    this.id = events[at + 2] as number;
    const offset = events[at + 3] as number;
    const length = events[at + 4] as number;
    this.#table = (events[at + 5] as number) / 4;
    this.attachmentCount = events[at + 6] as number;
    this.deadlineMs = events[at + 7] as number;
    this.envelope = this.#memory.receive.subarray(offset, offset + length);
    this.byteCount = length;
    const words = this.#memory.receiveWords;
    for (let i = 0; i < this.attachmentCount; i++) {
      const row = this.#table + i * ATTACHMENT_WORDS;
      if (words[row] !== 0) this.byteCount += words[row + 2] as number;
    }
    return this;
  }

  takeInline(index: number): Buffer | undefined {
    const words = this.#memory.receiveWords;
    const row = this.#table + index * ATTACHMENT_WORDS;
    if (index >= this.attachmentCount || words[row] === 0) return undefined;
    const offset = words[row + 1] as number;
    return Buffer.from(this.#memory.receive.subarray(offset, offset + (words[row + 2] as number)));
  }
}

/** The bytes of the batch of the descriptor at `at`. */
function contentAt({ events, receive }: SharedBlocks, at: number): Buffer {
  const offset = events[at + 3] as number;
  return receive.subarray(offset, offset + (events[at + 4] as number));
}

function operationEnded(
  handler: EventHandler,
  events: Float64Array,
  at: number,
  errorAt: (index: number) => Error,
): void {
  const error = events[at + 5] as number;
  handler.operation(
    events[at + 1] as number,
    events[at + 2] as number,
    events[at + 3] as number,
    events[at + 4] as number,
    error === 0 ? undefined : errorAt(error - 1),
  );
}

/**
 * The function that the addon calls with the number of descriptors that lie ready. A handler may end the engine; what is left
 * then is nobody's any more.
 */
export function eventReader(
  memory: SharedBlocks,
  handler: EventHandler,
  detail: (index: number) => NativeHello | Error,
  isOver: () => boolean,
): (count: number) => void {
  const { events } = memory;
  const arrived = new Arrived(memory);
  const errorAt = (index: number): Error => detail(index) as Error;
  const handle = (at: number): void => {
    const a = events[at + 1] as number;
    const b = events[at + 2] as number;
    switch (events[at] as number) {
      case 1:
        handler.hello(a, detail(b) as NativeHello);
        break;
      case 2:
        handler.open(a);
        break;
      case 3:
        handler.message(arrived.load(events, at));
        break;
      case 4:
        handler.messageCanceled(a, b);
        break;
      case 5:
        handler.delivered(a, b);
        break;
      case 6:
        handler.writable(a);
        break;
      case 7:
        operationEnded(handler, events, at, errorAt);
        break;
      case 8:
        handler.notified(a);
        break;
      case 9:
        handler.tagEnded(a, b);
        break;
      case 10:
        handler.interrupted(a, errorAt(b));
        break;
      case 11:
        handler.resumed(a);
        break;
      case 12:
        handler.closed(a, errorAt(b));
        break;
      case 13:
        handler.batch(a, b, events[at + 5] as number, contentAt(memory, at));
        break;
      case 14:
        handler.regionGone(a);
        break;
    }
  };
  return (count) => {
    for (let i = 0; i < count && !isOver(); i++) {
      try {
        handle(i * EVENT_WORDS);
      } catch (error) {
        // A user's listener threw. That is an uncaught exception, as with any emitter, but the events behind it are others'
        // messages: they must not be lost with it.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  };
}
