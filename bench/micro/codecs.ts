/**
 * The micro-benchmarks of encodings: an ordinary addressed message to bytes and back, as Fast Infoset and as text XML. Each message is a
 * new one with an id of its own, because that is what makes the time; what an encoding remembers of the last one, it may use.
 */
import { fastInfosetSerializer } from '../../lib/serializer/fastinfoset.js';
import { xmlSerializer } from '../../lib/serializer/xml.js';
import { Envelope } from '../../lib/soap/envelope.js';
import { element } from '../../lib/soap/infoset.js';
import type { Micro } from './micro.js';

const BODY_BYTES = 64;
const MESSAGES = 64;
const TARGET_BYTES = 1 << 16;
const TEXT = 'x'.repeat(BODY_BYTES);

const ENCODINGS = [
  { serializer: fastInfosetSerializer, encoding: 'fastinfoset' },
  { serializer: xmlSerializer, encoding: 'xml' },
] as const;

function message(): Envelope {
  return Envelope.of({
    to: 'dos://127.0.0.1:7350/frames',
    action: 'urn:example:bench:put',
    body: element('urn:example:bench', 'Value', TEXT),
  });
}

export const codecMicros: readonly Micro[] = ENCODINGS.flatMap(({ serializer, encoding }): Micro[] => {
  const common = { size: BODY_BYTES, mode: 'busy', encoding } as const;
  const documents = (): Buffer[] =>
    Array.from({ length: MESSAGES }, () => Buffer.from(serializer.encode(message())));
  return [
    {
      task: { metric: 'encode', ...common },
      operations: MESSAGES,
      prepare: () => {
        const target = Buffer.alloc(TARGET_BYTES);
        return () => {
          // Made in here: a sender makes each message anew, and an element that is sent again is not written again.
          for (let n = 0; n < MESSAGES; n++) serializer.encodeInto(message(), target, 0);
        };
      },
    },
    {
      task: { metric: 'decode', ...common },
      operations: MESSAGES,
      prepare: () => {
        const all = documents();
        return () => {
          for (const document of all) {
            const [value] = serializer.decodeHeader(document).body;
            if (value?.text() !== TEXT) throw new Error('a message has changed');
          }
        };
      },
    },
    {
      task: { metric: 'decode_header', ...common },
      operations: MESSAGES,
      prepare: () => {
        const all = documents();
        return () => {
          for (const document of all) {
            if (serializer.decodeHeader(document).messageId === undefined) throw new Error('an id is gone');
          }
        };
      },
    },
  ];
});
