// How Fast Infoset spells lengths, indices and strings (ITU-T Rec. X.891, Annex C), for writing. Octets are the characters of a
// string, U+0000 to U+00FF: strings are joined, and turned into bytes once, faster than bytes are written one by one. Knows nothing
// of elements or tables.
import { checkCharacters, isPlainAscii } from './xml-text.js';

/** The four bits 1111 that end a list, and four bits of padding. C.2.12 and others. */
export const END = '\xf0';
/** The ends of two lists, one right after the other. */
export const END_TWICE = '\xff';
/** An element that has namespace attributes, C.3.4.1; with ATTRIBUTES when it has others too. */
export const ELEMENT_WITH_NAMESPACES = 0x38;
/** C.18.4, C.17.4: a name that is spelled out, with the bits of what it has beside a local name. */
export const LITERAL_ELEMENT_NAME = 0x3c;
export const LITERAL_ATTRIBUTE_NAME = 0x78;
export const HAS_PREFIX = 2;
export const HAS_NAMESPACE = 1;
/** C.3.3: the element has attributes. */
export const ATTRIBUTES = 0x40;
/** C.12: a namespace attribute, with HAS_PREFIX and HAS_NAMESPACE. */
export const NAMESPACE_ATTRIBUTE = 0xcc;

const OCTETS = Array.from({ length: 256 }, (_, octet) => String.fromCharCode(octet));

export function octet(value: number): string {
  return OCTETS[value] ?? '';
}

function octets(value: number, count: 1 | 2 | 3 | 4): string {
  let text = '';
  for (let shift = (count - 1) * 8; shift >= 0; shift -= 8) text += octet((value >>> shift) & 0xff);
  return text;
}

/** Where the lengths of an octet string go over into the next longer form, and how the forms are marked. */
interface LengthForms {
  readonly shortMax: number;
  readonly mediumMax: number;
  readonly medium: number;
  readonly long: number;
}

/** C.22: on the second bit. */
const SECOND_BIT: LengthForms = { shortMax: 64, mediumMax: 320, medium: 0x40, long: 0x60 };
/** C.23: on the fifth bit. */
const FIFTH_BIT: LengthForms = { shortMax: 8, mediumMax: 264, medium: 0x08, long: 0x0c };
/** C.24: on the seventh bit. */
const SEVENTH_BIT: LengthForms = { shortMax: 2, mediumMax: 258, medium: 0x02, long: 0x03 };

function length(forms: LengthForms, first: number, count: number): string {
  if (count <= forms.shortMax) return octet(first | (count - 1));
  if (count <= forms.mediumMax) return octet(first | forms.medium) + octet(count - forms.shortMax - 1);
  return octet(first | forms.long) + octets(count - forms.mediumMax - 1, 4);
}

/** C.25: an index on the second bit, of whose octet `first` is the first bit. */
export function indexOnSecondBit(first: number, index: number): string {
  if (index <= 0x40) return octet(first | (index - 1));
  const beyond = index - 0x41;
  if (beyond < 0x2000) return octet(first | 0x40 | (beyond >> 8)) + octet(beyond & 0xff);
  const far = beyond - 0x2000;
  return octet(first | 0x60 | (far >> 16)) + octets(far & 0xffff, 2);
}

/** C.27: an index on the third bit, of whose octet `first` are the first two. */
export function indexOnThirdBit(first: number, index: number): string {
  if (index <= 0x20) return octet(first | (index - 1));
  const beyond = index - 0x21;
  if (beyond < 0x800) return octet(first | 0x20 | (beyond >> 8)) + octet(beyond & 0xff);
  const far = beyond - 0x800;
  if (far < 0x80000) return octet(first | 0x28 | (far >> 16)) + octets(far & 0xffff, 2);
  return octet(first | 0x30) + octets(far - 0x80000, 3);
}

/** C.28: an index of a character chunk, on the fourth bit. */
function indexOnFourthBit(first: number, index: number): string {
  if (index <= 0x10) return octet(first | (index - 1));
  const beyond = index - 0x11;
  return octet(first | 0x10 | (beyond >> 8)) + octet(beyond & 0xff);
}

/** C.13: a string that has no index yet. Throws INVALID_ARGUMENT for characters that XML 1.0 cannot carry. */
export function identifyingString(text: string): string {
  const image = utf8(text);
  return length(SECOND_BIT, 0, image.length) + image;
}

/** C.14: the value of an attribute. Throws INVALID_ARGUMENT for characters that XML 1.0 cannot carry. */
export function attributeValue(text: string): string {
  if (text === '') return EMPTY_VALUE;
  const image = utf8(text);
  return length(FIFTH_BIT, 0, image.length) + image;
}

/** C.26: the index 0, which stands for no characters. */
const EMPTY_VALUE = '\xff';

/** C.14: the value of an attribute that has an index. */
export function attributeValueIndex(index: number): string {
  return indexOnSecondBit(0x80, index);
}

const CHUNK = 0x80;
const CHUNK_INDEX = 0xa0;
/** The starts of chunks of 0 to 258 octets: those of nearly all. */
const CHUNK_STARTS = Array.from({ length: SEVENTH_BIT.mediumMax + 1 }, (_, count) =>
  count === 0 ? '' : length(SEVENTH_BIT, CHUNK, count),
);

/** C.15: text, of one character or more. Throws INVALID_ARGUMENT for characters that XML 1.0 cannot carry. */
export function chunk(text: string): string {
  return plainChunk(utf8(text));
}

/** The same for text that is known to be ASCII that XML 1.0 can carry. */
export function plainChunk(image: string): string {
  return (CHUNK_STARTS[image.length] ?? length(SEVENTH_BIT, CHUNK, image.length)) + image;
}

/** C.15: text that has an index, of at most 1040. */
export function chunkIndex(index: number): string {
  return indexOnFourthBit(CHUNK_INDEX, index);
}

/** The octets of text in UTF-8. Throws INVALID_ARGUMENT for characters that XML 1.0 cannot carry. */
function utf8(text: string): string {
  if (isPlainAscii(text)) return text;
  checkCharacters(text);
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** A string joined from many as one piece, for those that are written again and again. */
export function flat(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}
