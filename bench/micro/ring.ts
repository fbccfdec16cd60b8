/**
 * The micro-benchmark of the ring of events, on the side of JavaScript: descriptors of messages are read and handed on, as many as the
 * ring holds in one go. What writes them is the engine; here they are written once.
 */
import { eventReader, type EventHandler } from '../../lib/dataplane/events.js';
import { EVENTS_MAX, EVENT_WORDS, SharedBlocks } from '../../lib/dataplane/shared-blocks.js';
import type { Micro } from './micro.js';

const MESSAGE_EVENT = 3;
const ENVELOPE_BYTES = 256;
const MESSAGE_BYTES_MAX = 1 << 16;

/** Only messages come; whatever else is called is a mistake. */
function handlerOf(message: EventHandler['message']): EventHandler {
  const unexpected = (): never => {
    throw new Error('an event came that was not written');
  };
  return {
    message,
    hello: unexpected,
    open: unexpected,
    batch: unexpected,
    messageCanceled: unexpected,
    delivered: unexpected,
    writable: unexpected,
    operation: unexpected,
    notified: unexpected,
    tagEnded: unexpected,
    interrupted: unexpected,
    resumed: unexpected,
    closed: unexpected,
    regionGone: unexpected,
  };
}

export const ringMicros: readonly Micro[] = [
  {
    task: { metric: 'ring_events', size: ENVELOPE_BYTES, mode: 'busy' },
    operations: EVENTS_MAX,
    prepare: () => {
      const memory = new SharedBlocks(MESSAGE_BYTES_MAX);
      for (let index = 0; index < EVENTS_MAX; index++) {
        // Kind, session, id, where the envelope lies and how long it is, attachments and how many, deadline.
        const descriptor = [MESSAGE_EVENT, 1, index, index * ENVELOPE_BYTES, ENVELOPE_BYTES, 0, 0, Infinity];
        memory.events.set(descriptor, index * EVENT_WORDS);
      }
      let bytes = 0;
      const handler = handlerOf((message) => (bytes += message.envelope.length));
      const read = eventReader(memory, handler, unreachable, () => false);
      return () => {
        bytes = 0;
        read(EVENTS_MAX);
        if (bytes !== EVENTS_MAX * ENVELOPE_BYTES) throw new Error('an event was lost');
      };
    },
  },
];

function unreachable(): never {
  throw new Error('no event has a detail');
}
