// The encoding `fastinfoset`: SOAP 1.2 as Fast Infoset (ITU-T Rec. X.891 | ISO/IEC 24824-1), with a vocabulary that both sides have.
// Turns octets into bytes and back, and applies the limits on size. Knows nothing of elements, names or tables.
import { SplitplaneError } from '../errors.js';
import { Envelope } from '../soap/envelope.js';
import { MessageRefusedError } from '../soap/fault.js';
import { OwnHeaderReader } from './fastinfoset-own-form.js';
import { FastInfosetReader, KnownStarts } from './fastinfoset-reader.js';
import { FastInfosetWriter } from './fastinfoset-writer.js';
import type { Serializer } from './registry.js';
import { XML_LIMITS, type XmlLimits } from './xml-limits.js';

/** Fast Infoset. One instance serves many connections. The limits are those of text XML, and so are their defaults. */
export class FastInfosetSerializer implements Serializer {
  readonly name = 'fastinfoset';
  readonly contentType = 'application/soap+fastinfoset';
  readonly #limits: XmlLimits;
  readonly #writer: FastInfosetWriter;
  readonly #ownHeader = new OwnHeaderReader();
  readonly #starts = new KnownStarts();

  constructor(limits: Partial<XmlLimits> = {}) {
    this.#limits = { ...XML_LIMITS, ...limits };
    this.#writer = new FastInfosetWriter(this.#limits.depthMax);
  }

  encode(envelope: Envelope): Buffer {
    const octets = this.#writer.write(envelope);
    this.#checkSize(octets.length);
    return Buffer.from(octets, 'latin1');
  }

  encodeInto(envelope: Envelope, target: Buffer, offset: number): number {
    const octets = this.#writer.write(envelope);
    const sizeBytes = octets.length;
    this.#checkSize(sizeBytes);
    if (!(offset >= 0) || sizeBytes > target.length - offset) {
      const room = Math.max(0, target.length - offset);
      throw new SplitplaneError(
        'LIMIT_EXCEEDED',
        `The message has ${sizeBytes} bytes as Fast Infoset and there is room for ${room}. Send less, or give more room.`,
      );
    }
    return target.write(octets, offset, sizeBytes, 'latin1');
  }

  decodeHeader(bytes: Uint8Array): Envelope {
    const { envelopeBytesMax, referencesMax } = this.#limits;
    if (bytes.length > envelopeBytesMax) throw MessageRefusedError.limit('more bytes', envelopeBytesMax);
    // The one copy of what a peer may still be changing; everything after works on the copy.
    const octets = toBuffer(bytes).toString('latin1');
    const own = this.#ownHeader.read(octets);
    const envelope =
      own === undefined
        ? this.#decodeAnyHeader(octets)
        : Envelope.fromProperties(own.properties, () =>
            new FastInfosetReader(octets, this.#limits).readOwnBody(own.bodyStart, this.#starts),
          );
    if (envelope.references.length > referencesMax)
      throw MessageRefusedError.limit('more references', referencesMax);
    return envelope;
  }

  #decodeAnyHeader(octets: string): Envelope {
    const reader = new FastInfosetReader(octets, this.#limits);
    return Envelope.fromInfoset(reader.readHeader(), () => reader.readBody());
  }

  #checkSize(sizeBytes: number): void {
    const { envelopeBytesMax } = this.#limits;
    if (sizeBytes <= envelopeBytesMax) return;
    throw new SplitplaneError(
      'LIMIT_EXCEEDED',
      `The message has ${sizeBytes} bytes as Fast Infoset; ${envelopeBytesMax} are allowed. Send bulk data as a buffer.`,
    );
  }
}

/** Fast Infoset with the default limits. */
export const fastInfosetSerializer = new FastInfosetSerializer();

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
