// A Fast Infoset document being read: octets, and the lengths, indices and strings that they spell (ITU-T Rec. X.891, Annex C).
// The octets are the characters of a string, U+0000 to U+00FF: taking a part of it is ten times faster than decoding bytes. Each
// length is compared with what is there before anything is made of it. Knows nothing of elements or tables.
import { isUtf8 } from 'node:buffer';
import { MessageRefusedError } from '../soap/fault.js';
import { CDATA, readAlgorithm, readAlphabet } from './fastinfoset-algorithms.js';
import { isPlainAscii, isText } from './xml-text.js';

/** C.19.3 and C.20.3: how characters are encoded. */
const UTF8 = 0;
const ALPHABET = 2;
const ALGORITHM = 3;

export class FastInfosetInput {
  at = 0;
  /** Characters that were read, counted each time that they are referred to. */
  #characterCount = 0;

  constructor(
    readonly octets: string,
    /** As many characters as a document of text may have bytes; few octets can stand for many. */
    private readonly charactersMax: number,
  ) {}

  octet(): number {
    if (this.at >= this.octets.length) throw cutOff();
    return this.octets.charCodeAt(this.at++);
  }

  peek(): number {
    if (this.at >= this.octets.length) throw cutOff();
    return this.octets.charCodeAt(this.at);
  }

  /** Where so many octets start, which are passed. */
  skip(count: number): number {
    const start = this.at;
    if (count > this.octets.length - start) throw cutOff();
    this.at = start + count;
    return start;
  }

  /** Counts characters that the infoset holds. */
  count(text: string): string {
    this.#characterCount += text.length;
    if (this.#characterCount > this.charactersMax)
      throw MessageRefusedError.limit('more characters', this.charactersMax);
    return text;
  }

  #unsigned(count: 1 | 2 | 3 | 4): number {
    let value = 0;
    for (let n = 0; n < count; n++) value = value * 256 + this.octet();
    return value;
  }

  /** C.22: a length of 1 or more, of whose octet `first` the first bit does not count. */
  lengthOnSecondBit(first: number): number {
    const bits = first & 0x7f;
    if (bits < 0x40) return bits + 1;
    if (bits === 0x40) return this.octet() + 65;
    if (bits === 0x60) return this.#unsigned(4) + 321;
    throw invalidOctet();
  }

  /** C.23. */
  #lengthOnFifthBit(first: number): number {
    const bits = first & 0x0f;
    if (bits < 0x08) return bits + 1;
    if (bits === 0x08) return this.octet() + 9;
    if (bits === 0x0c) return this.#unsigned(4) + 265;
    throw invalidOctet();
  }

  /** C.24. */
  #lengthOnSeventhBit(first: number): number {
    const bits = first & 0x03;
    if (bits < 0x02) return bits + 1;
    return bits === 0x02 ? this.octet() + 3 : this.#unsigned(4) + 259;
  }

  /** C.25: an index of 1 or more, of whose octet `first` the first bit does not count. */
  indexOnSecondBit(first: number): number {
    const bits = first & 0x7f;
    if (bits < 0x40) return bits + 1;
    if (bits < 0x60) return ((bits & 0x1f) << 8) + this.octet() + 0x41;
    if (bits < 0x70) return ((bits & 0x0f) << 16) + this.#unsigned(2) + 0x2041;
    throw invalidOctet();
  }

  /** C.27: the first two bits do not count. */
  indexOnThirdBit(first: number): number {
    const bits = first & 0x3f;
    if (bits < 0x20) return bits + 1;
    if (bits < 0x28) return ((bits & 0x07) << 8) + this.octet() + 0x21;
    if (bits < 0x30) return ((bits & 0x07) << 16) + this.#unsigned(2) + 0x821;
    if (bits === 0x30) return this.#unsigned(3) + 0x80821;
    throw invalidOctet();
  }

  /** C.28: the first three bits do not count. */
  indexOnFourthBit(first: number): number {
    const bits = first & 0x1f;
    if (bits < 0x10) return bits + 1;
    if (bits < 0x14) return ((bits & 0x03) << 8) + this.octet() + 0x11;
    if (bits < 0x18) return ((bits & 0x03) << 16) + this.#unsigned(2) + 0x411;
    if (bits === 0x18) return this.#unsigned(3) + 0x40411;
    throw invalidOctet();
  }

  /** C.21: how many there are in a row of 1 or more. */
  sequenceLength(): number {
    const first = this.octet();
    if (first < 0x80) return first + 1;
    if ((first & 0x70) !== 0) throw invalidOctet();
    return ((first & 0x0f) << 16) + this.#unsigned(2) + 129;
  }

  /** C.19: the characters of a value, which is no index. */
  valueText(first: number): string {
    const encoding = (first >> 4) & 0x03;
    if (encoding < ALPHABET) return this.#text(encoding, this.#lengthOnFifthBit(first));
    const second = this.octet();
    const index = ((first & 0x0f) << 4) + (second >> 4) + 1;
    return this.#special(encoding, index, this.#lengthOnFifthBit(second));
  }

  /** C.20: the characters of a chunk, which is no index. */
  chunkText(first: number): string {
    const encoding = (first >> 2) & 0x03;
    if (encoding < ALPHABET) return this.#text(encoding, this.#lengthOnSeventhBit(first));
    const second = this.octet();
    const index = ((first & 0x03) << 6) + (second >> 2) + 1;
    return this.#special(encoding, index, this.#lengthOnSeventhBit(second));
  }

  /** So many octets of UTF-8. */
  utf8(count: number): string {
    const start = this.skip(count);
    const image = this.octets.slice(start, this.at);
    if (isPlainAscii(image)) return image;
    const bytes = Buffer.from(image, 'latin1');
    if (!isUtf8(bytes))
      throw MessageRefusedError.sender('The message has text that is not UTF-8. Send UTF-8.');
    return legal(bytes.toString('utf8'));
  }

  #text(encoding: number, count: number): string {
    if (encoding === UTF8) return this.utf8(count);
    // C.19.3.2: the more significant octet comes first.
    const bytes = this.#bytes(count);
    if (count % 2 !== 0)
      throw MessageRefusedError.sender('The message has half a character. Correct the sender.');
    return legal(bytes.swap16().toString('utf16le'));
  }

  #special(encoding: number, index: number, count: number): string {
    if (encoding === ALGORITHM && index === CDATA) return this.utf8(count);
    const bytes = this.#bytes(count);
    return encoding === ALPHABET
      ? readAlphabet(index, bytes)
      : readAlgorithm(index, bytes, this.charactersMax);
  }

  #bytes(count: number): Buffer {
    const start = this.skip(count);
    return Buffer.from(this.octets.slice(start, this.at), 'latin1');
  }
}

function legal(text: string): string {
  if (isText(text)) return text;
  throw MessageRefusedError.sender('The message has a character that XML 1.0 does not allow. Leave it out.');
}

export function cutOff(): MessageRefusedError {
  return MessageRefusedError.sender(
    'The message ends in the middle of its Fast Infoset document, or a length in it is wrong. Send all of it.',
  );
}

export function invalidOctet(): MessageRefusedError {
  return MessageRefusedError.sender(
    'The message has octets that mean nothing in Fast Infoset (ITU-T Rec. X.891). Correct the sender.',
  );
}
