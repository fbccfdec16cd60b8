// Text that a Fast Infoset document carries as something shorter: by the built-in restricted alphabets and encoding algorithms
// (ITU-T Rec. X.891, sections 9 and 10). Turns octets of a peer into the characters they stand for. Writes nothing, and knows no
// tables.
import { MessageRefusedError, SoapFault } from '../soap/fault.js';

/** Section 9, by index: four bits a character, of which 15 is none. */
const ALPHABETS: readonly (string | undefined)[] = [undefined, '0123456789-+.E ', '0123456789-:TZ '];
const NO_CHARACTER = 15;

/** An algorithm: the least number of characters that so many octets may become, and the characters. */
interface Algorithm {
  readonly name: string;
  readonly least: (octetCount: number) => number;
  readonly read: (octets: Buffer) => string;
}

/** Section 10, by index. The tenth, CDATA, is text and not here. */
const ALGORITHMS: readonly (Algorithm | undefined)[] = [
  undefined,
  { name: 'hexadecimal', least: (n) => n * 2, read: (octets) => octets.toString('hex').toUpperCase() },
  { name: 'base64', least: (n) => (n * 4) / 3, read: (octets) => octets.toString('base64') },
  numbers('short', 2, (octets, at) => String(octets.readInt16BE(at))),
  numbers('int', 4, (octets, at) => String(octets.readInt32BE(at))),
  numbers('long', 8, (octets, at) => String(octets.readBigInt64BE(at))),
  { name: 'boolean', least: (n) => (n - 2) * 40, read: readBooleans },
  numbers('float', 4, (octets, at) => real(shortestFloat(octets.readFloatBE(at)))),
  numbers('double', 8, (octets, at) => real(octets.readDoubleBE(at))),
  numbers('uuid', 16, readUuid),
];

/** The index of CDATA, section 10.11: UTF-8 that stood in a CDATA section, which the infoset does not tell from other text. */
export const CDATA = 10;

/** The characters of octets in a restricted alphabet. Throws MessageRefusedError. */
export function readAlphabet(index: number, octets: Buffer): string {
  const alphabet = ALPHABETS[index];
  if (alphabet === undefined) throw unsupported(`the restricted alphabet ${index}`);
  let text = '';
  octets.forEach((octet, at) => {
    const low = octet & 15;
    if (octet >> 4 === NO_CHARACTER || (low === NO_CHARACTER && at !== octets.length - 1)) {
      throw malformed('text in a restricted alphabet');
    }
    text += alphabet.charAt(octet >> 4) + alphabet.charAt(low);
  });
  return text;
}

/** The characters of octets by an encoding algorithm, `lengthMax` at most. Throws MessageRefusedError. */
export function readAlgorithm(index: number, octets: Buffer, lengthMax: number): string {
  const algorithm = ALGORITHMS[index];
  if (algorithm === undefined) throw unsupported(`the encoding algorithm ${index}`);
  // Few octets may be many characters: what is too much is refused before it is made.
  if (algorithm.least(octets.length) > lengthMax)
    throw MessageRefusedError.limit('more characters', lengthMax);
  return algorithm.read(octets);
}

/** Numbers of one size each, with a space between: their lexical representation in XML Schema. */
function numbers(name: string, size: number, read: (octets: Buffer, at: number) => string): Algorithm {
  return {
    name,
    least: (n) => (n / size) * 2 - 1,
    read: (octets) => {
      if (octets.length % size !== 0) throw malformed(`text by the encoding algorithm ${name}`);
      const all: string[] = [];
      for (let at = 0; at < octets.length; at += size) all.push(read(octets, at));
      return all.join(' ');
    },
  };
}

/** Section 10.7: four bits say how many at the end mean nothing; the others are a value each. */
function readBooleans(octets: Buffer): string {
  const unused = (octets[0] ?? 0) >> 4;
  const count = octets.length * 8 - 4 - unused;
  if (unused > 7 || count < 1) throw malformed('text by the encoding algorithm boolean');
  const all: string[] = [];
  for (let bit = 4; bit < count + 4; bit++) {
    all.push(((octets[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1 ? 'true' : 'false');
  }
  return all.join(' ');
}

function readUuid(octets: Buffer, at: number): string {
  const hex = octets.toString('hex', at, at + 16);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** XML Schema's names for what is no ordinary number. */
function real(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value < 0 ? '-INF' : 'INF';
  return Object.is(value, -0) ? '-0' : String(value);
}

/** The number with the fewest digits that is this one in single precision. */
function shortestFloat(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

function malformed(what: string): MessageRefusedError {
  return MessageRefusedError.sender(`The message has ${what} that is malformed. Correct the sender.`);
}

function unsupported(what: string): MessageRefusedError {
  const reason = `The message uses ${what}, which is not built into Fast Infoset. Send such text as UTF-8.`;
  return new MessageRefusedError('ENCODING_UNSUPPORTED', new SoapFault({ code: 'Sender', reason }));
}
