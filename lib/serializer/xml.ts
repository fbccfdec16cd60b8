// The encoding `xml`: SOAP 1.2 as text XML in UTF-8. Turns text into bytes and back, keeps readers and the writer for reuse,
// and applies the limits on size. Knows nothing of tags, names or namespaces.
import { isAscii, isUtf8 } from 'node:buffer';
import { SplitplaneError } from '../errors.js';
import { Envelope } from '../soap/envelope.js';
import { MessageRefusedError } from '../soap/fault.js';
import type { XmlElement } from '../soap/infoset.js';
import type { Serializer } from './registry.js';
import { readOwnBody, readOwnHeader } from './xml-own-form.js';
import { XML_LIMITS, type XmlLimits } from './xml-limits.js';
import { XmlReader } from './xml-reader.js';
import { XmlWriter, type XmlText } from './xml-writer.js';

/** Readers kept for reuse. */
const READERS_KEPT_MAX = 16;

/** Text XML. One instance serves many connections. */
export class XmlSerializer implements Serializer {
  readonly name = 'xml';
  readonly contentType = 'application/soap+xml; charset=utf-8';
  readonly #limits: XmlLimits;
  readonly #writer: XmlWriter;
  readonly #readers: XmlReader[] = [];

  constructor(limits: Partial<XmlLimits> = {}) {
    this.#limits = { ...XML_LIMITS, ...limits };
    this.#writer = new XmlWriter(this.#limits.depthMax);
  }

  encode(envelope: Envelope): Buffer {
    const { text, ascii } = this.#writer.write(envelope);
    const bytes = Buffer.from(text, ascii ? 'latin1' : 'utf8');
    this.#checkSize(bytes.length);
    return bytes;
  }

  encodeInto(envelope: Envelope, target: Buffer, offset: number): number {
    const written = this.#writer.write(envelope);
    const sizeBytes = encodedBytes(written);
    this.#checkSize(sizeBytes);
    if (!(offset >= 0) || sizeBytes > target.length - offset) {
      const room = Math.max(0, target.length - offset);
      throw new SplitplaneError(
        'LIMIT_EXCEEDED',
        `The message has ${sizeBytes} bytes as text XML and there is room for ${room}. Send less, or give more room.`,
      );
    }
    return target.write(written.text, offset, sizeBytes, written.ascii ? 'latin1' : 'utf8');
  }

  decodeHeader(bytes: Uint8Array): Envelope {
    const { envelopeBytesMax, referencesMax } = this.#limits;
    if (bytes.length > envelopeBytesMax) throw MessageRefusedError.limit('more bytes', envelopeBytesMax);
    const text = toText(bytes);
    const own = readOwnHeader(text);
    const envelope =
      own === undefined
        ? this.#decodeAnyHeader(text)
        : Envelope.fromProperties(own.properties, () => this.#readBody(text, own.bodyStart));
    if (envelope.references.length > referencesMax)
      throw MessageRefusedError.limit('more references', referencesMax);
    return envelope;
  }

  /** The envelope as text for people, indented. White space is added, so it is not for sending. */
  pretty(envelope: Envelope): string {
    return this.#writer.writePretty(envelope);
  }

  /** An element as text for people, indented, with the declarations it needs. */
  prettyElement(element: XmlElement): string {
    return this.#writer.writePrettyElement(element);
  }

  #decodeAnyHeader(text: string): Envelope {
    const reader = this.#takeReader();
    return Envelope.fromInfoset(reader.readHeader(text), () => {
      const body = reader.readBody();
      this.#keepReader(reader);
      return body;
    });
  }

  #readBody(text: string, bodyStart: number): XmlElement[] {
    const own = readOwnBody(text, bodyStart);
    if (own !== undefined) return own;
    const reader = this.#takeReader();
    const body = reader.readOwnBody(text.slice(bodyStart));
    this.#keepReader(reader);
    return body;
  }

  #takeReader(): XmlReader {
    return this.#readers.pop() ?? new XmlReader(this.#limits);
  }

  /** For readers that have come to the end of a document; one that threw stays where it is, and is dropped. */
  #keepReader(reader: XmlReader): void {
    if (this.#readers.length < READERS_KEPT_MAX) this.#readers.push(reader);
  }

  #checkSize(sizeBytes: number): void {
    const { envelopeBytesMax } = this.#limits;
    if (sizeBytes <= envelopeBytesMax) return;
    throw new SplitplaneError(
      'LIMIT_EXCEEDED',
      `The message has ${sizeBytes} bytes as text XML; ${envelopeBytesMax} are allowed. Send bulk data as a buffer.`,
    );
  }
}

/** Text XML with the default limits. */
export const xmlSerializer = new XmlSerializer();

function encodedBytes({ text, ascii }: XmlText): number {
  return ascii ? text.length : Buffer.byteLength(text, 'utf8');
}

/** The one copy of what a peer may still be changing; everything after works on the copy. */
function toText(bytes: Uint8Array): string {
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (isAscii(buffer)) return buffer.toString('latin1');
  if (isUtf8(buffer)) return buffer.toString('utf8');
  throw MessageRefusedError.sender('The message is not UTF-8. Send text XML in UTF-8.');
}
