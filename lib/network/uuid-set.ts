// A set of UUIDs that the garbage collector does not see: the 128 bits of each lie in one table of words. A set of strings
// would keep thousands of them alive, and cost several times as much to look into. The table is keyed by random numbers, because
// what is in it comes from peers, who could else choose ids that all meet in one place.
import { randomFillSync } from 'node:crypto';

const PREFIX = 'urn:uuid:';
/** RFC 4122, section 3: 8-4-4-4-12 digits. */
const URN_LENGTH = PREFIX.length + 36;
const HYPHEN = '-'.charCodeAt(0);

/** What a character is worth as a digit; lower case only, so that an id has one spelling here. */
const NO_DIGIT = 0x80;
const VALUES = new Uint8Array(256).fill(NO_DIGIT);
for (let value = 0; value < 16; value++) VALUES[value.toString(16).charCodeAt(0)] = value;

const WORDS = 4;
const SLOTS_MIN = 64;
const KEYS = randomFillSync(new Uint32Array(WORDS));

/** All values of the digits that were read, ored together. */
let seen = 0;
/** The id that was read last. */
const current = new Uint32Array(WORDS);
let currentHash = 0;

export class UuidSet {
  readonly #sizeMax: number;
  #slots = SLOTS_MIN;
  #words = new Uint32Array(SLOTS_MIN * WORDS);
  #size = 0;

  /** Holds `sizeMax` ids at most; grows up to there. */
  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax;
  }

  /** Reads the id that `has` and `add` are about. False for what is not `urn:uuid:` in lower case, or is all zeros. */
  static read(id: string): boolean {
    if (id.length !== URN_LENGTH || !id.startsWith(PREFIX)) return false;
    seen = 0;
    const a = (digits(id, 9) << 16) | digits(id, 13);
    const b = (digits(id, 18) << 16) | digits(id, 23);
    const c = (digits(id, 28) << 16) | digits(id, 33);
    const d = (digits(id, 37) << 16) | digits(id, 41);
    for (const at of [17, 22, 27, 32]) if (id.charCodeAt(at) !== HYPHEN) return false;
    if (seen >= NO_DIGIT || (a | b | c | d) === 0) return false;
    current[0] = a;
    current[1] = b;
    current[2] = c;
    current[3] = d;
    currentHash = hashOf(a, b, c, d);
    return true;
  }

  get size(): number {
    return this.#size;
  }

  has(): boolean {
    return this.#find(current, 0, currentHash) < 0;
  }

  /** Adds an id that is not here. */
  add(): void {
    if (this.#size === this.#sizeMax) throw new RangeError('The set is full.');
    // Half of the slots stay empty, so that a search is short.
    if (this.#size * 2 === this.#slots) this.#grow();
    this.#words.set(current, this.#find(current, 0, currentHash));
    this.#size++;
  }

  clear(): void {
    this.#words.fill(0);
    this.#size = 0;
  }

  /** Where the id at `from` would be put, or -1 when it is here. */
  #find(ids: Uint32Array, from: number, hash: number): number {
    const words = this.#words;
    const mask = this.#slots - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const at = slot * WORDS;
      if (isSame(words, at, ids, from)) return -1;
      if (isEmpty(words, at)) return at;
    }
  }

  #grow(): void {
    const before = this.#words;
    this.#slots *= 2;
    this.#words = new Uint32Array(this.#slots * WORDS);
    for (let at = 0; at < before.length; at += WORDS) {
      if (isEmpty(before, at)) continue;
      const [a = 0, b = 0, c = 0, d = 0] = before.subarray(at, at + WORDS);
      this.#words.set(before.subarray(at, at + WORDS), this.#find(before, at, hashOf(a, b, c, d)));
    }
  }
}

/** The value of four digits. */
function digits(id: string, at: number): number {
  const a = digit(id.charCodeAt(at));
  const b = digit(id.charCodeAt(at + 1));
  const c = digit(id.charCodeAt(at + 2));
  const d = digit(id.charCodeAt(at + 3));
  seen |= a | b | c | d;
  return (a << 12) | (b << 8) | (c << 4) | d;
}

function digit(code: number): number {
  return (VALUES[code & 0xff] as number) | (code & 0xff00);
}

function isSame(words: Uint32Array, at: number, ids: Uint32Array, from: number): boolean {
  return (
    words[at] === ids[from] &&
    words[at + 1] === ids[from + 1] &&
    words[at + 2] === ids[from + 2] &&
    words[at + 3] === ids[from + 3]
  );
}

function isEmpty(words: Uint32Array, at: number): boolean {
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0 && words[at + 3] === 0;
}

function hashOf(a: number, b: number, c: number, d: number): number {
  let hash = 0;
  hash = mix(hash, a ^ (KEYS[0] as number));
  hash = mix(hash, b ^ (KEYS[1] as number));
  hash = mix(hash, c ^ (KEYS[2] as number));
  hash = mix(hash, d ^ (KEYS[3] as number));
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** One step of MurmurHash3 (32 bits). */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}
