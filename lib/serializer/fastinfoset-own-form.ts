// The header of nearly every message of this project as Fast Infoset: To, Action, MessageID, RelatesTo, References, in this order,
// by the shared vocabulary. It is joined from a few strings and read by offsets, several times faster than through elements. Whatever
// differs in one octet goes the general way: this file decides speed and never the outcome.
import type { Envelope, EnvelopeProperties } from '../soap/envelope.js';
import { isNewest } from '../soap/message-id.js';
import { ACCESSES, hasDuplicateCid, parseReference, TAG_LENGTH, type Reference } from '../soap/references.js';
import {
  ATTRIBUTES,
  attributeValue,
  attributeValueIndex,
  chunk,
  ELEMENT_WITH_NAMESPACES,
  END,
  END_TWICE,
  flat,
  HAS_NAMESPACE,
  HAS_PREFIX,
  identifyingString,
  indexOnSecondBit,
  NAMESPACE_ATTRIBUTE,
  octet,
  plainChunk,
} from './fastinfoset-octets.js';
import { DECLARED, indexOf, VOCABULARY, VOCABULARY_URI } from './fastinfoset-vocabulary.js';
import { hasAt } from './xml-text.js';

const { prefixes, namespaces, elements, attributes } = VOCABULARY;

/** How every document of Fast Infoset begins: its identification and version. X.891, section 12.6 to 12.8. */
export const MAGIC = '\xe0\x00\x00\x01';
/** There is an initial vocabulary (C.2.3), and it is an external one (C.2.5). */
const VOCABULARY_OCTETS = `\x20\x10\x00${identifyingString(VOCABULARY_URI)}`;
const DECLARATIONS = Object.entries(DECLARED).map(
  ([prefix, namespace]) =>
    octet(NAMESPACE_ATTRIBUTE | HAS_PREFIX | HAS_NAMESPACE) +
    indexOnSecondBit(0x80, indexOf(prefixes, prefix)) +
    indexOnSecondBit(0x80, indexOf(namespaces, namespace)),
);

/** The document up to the content of s:Header. */
export const PROLOGUE = flat(
  MAGIC +
    VOCABULARY_OCTETS +
    octet(ELEMENT_WITH_NAMESPACES) +
    DECLARATIONS.join('') +
    END +
    octet(element('Envelope')) +
    octet(element('Header')),
);
/** The start of s:Body. */
export const BODY = octet(element('Body'));
const MIDDLE = END_TWICE + BODY;

const TO = element('To');
const ACTION = element('Action');
const MESSAGE_ID = element('MessageID');
const RELATES_TO = element('RelatesTo');
const REFERENCES = element('References');
const REFERENCE = element('Reference') | ATTRIBUTES;
const MESSAGE_ID_START = END + octet(MESSAGE_ID);
const RELATES_TO_START = END + octet(RELATES_TO);
const REFERENCES_START = END + octet(REFERENCES);
const CID = attribute('cid');
const TAG = attribute('tag');
const LENGTH = attribute('length');
const ACCESS = attribute('access');
/** Tags are of one length. */
const TAG_START = octet(TAG) + attributeValue('-'.repeat(TAG_LENGTH)).slice(0, -TAG_LENGTH);
const ACCESS_OCTETS = Object.fromEntries(
  ACCESSES.map((access) => [access, attributeValueIndex(indexOf(VOCABULARY.attributeValues, access))]),
);
/** Strings that are the same in many messages, remembered by each reader and writer; beyond this, all are forgotten. */
const STRINGS_MAX = 256;
/** A start that is longer than this is not remembered: what peers say may be in it. */
const START_LENGTH_MAX = 1024;

/** The octet of an element without attributes, of the first 32 in the vocabulary. */
function element(localName: string): number {
  return elements.findIndex((name) => name.localName === localName);
}

function attribute(localName: string): number {
  return attributes.findIndex((name) => name.localName === localName);
}

/** What stands around the tag of a reference: messages of one kind differ in nothing else. */
interface AroundTag {
  readonly cid: string;
  readonly lengthBytes: number;
  readonly access: string;
  readonly before: string;
  readonly after: string;
  /** The whole of one that has no tag. */
  readonly untagged: string;
}

/** Writes the header of envelopes that are plain. */
export class OwnHeaderWriter {
  #around: AroundTag = { cid: '', lengthBytes: -1, access: '', before: '', after: '', untagged: '' };
  /** By wsa:Action: where a message goes, and everything up to there. */
  readonly #starts = new Map<string, { readonly to: string; readonly octets: string }>();
  readonly #spell: (text: string) => string;

  /** `spell` makes a chunk of text. */
  constructor(spell: (text: string) => string) {
    this.#spell = spell;
  }

  /** The document up to the content of s:Body. */
  write(envelope: Envelope): string {
    const { to, action, messageId, relatesTo, references } = envelope;
    let octets = this.#start(to, action);
    if (messageId !== undefined) {
      octets += MESSAGE_ID_START + (isNewest(messageId) ? plainChunk(messageId) : chunk(messageId));
    }
    if (relatesTo !== undefined) octets += RELATES_TO_START + chunk(relatesTo);
    if (references.length > 0) {
      octets += REFERENCES_START;
      for (const reference of references) octets += this.#reference(reference);
    }
    return octets + MIDDLE;
  }

  /** The envelope has checked it: all of its characters are ASCII. */
  #reference({ cid, tag, lengthBytes, access }: Reference): string {
    let around = this.#around;
    if (cid !== around.cid || lengthBytes !== around.lengthBytes || access !== around.access) {
      const before = octet(REFERENCE) + octet(CID) + attributeValue(cid);
      const sized = octet(LENGTH) + attributeValue(String(lengthBytes));
      const after = sized + octet(ACCESS) + (ACCESS_OCTETS[access] ?? '') + END_TWICE;
      around = {
        cid,
        lengthBytes,
        access,
        before: flat(before + TAG_START),
        after: flat(after),
        untagged: flat(before + after),
      };
      this.#around = around;
    }
    return tag === undefined ? around.untagged : around.before + tag + around.after;
  }

  #start(to: string, action: string): string {
    const known = this.#starts.get(action);
    if (known?.to === to) return known.octets;
    const spelled = [TO, ACTION].map((name, at) => octet(name) + this.#spell(at === 0 ? to : action));
    const octets = flat(PROLOGUE + spelled.join(END));
    if (octets.length > START_LENGTH_MAX) return octets;
    if (this.#starts.size === STRINGS_MAX) this.#starts.clear();
    this.#starts.set(action, { to, octets });
    return octets;
  }
}

/** Printable ASCII and no space: nothing here is decoded or trimmed. */
const URI = /^[!-~]+$/;

/** A header that was recognised. */
export interface OwnHeader {
  readonly properties: EnvelopeProperties;
  /** Where the content of s:Body begins. */
  readonly bodyStart: number;
}

const END_OCTET = END.charCodeAt(0);
const END_TWICE_OCTET = END_TWICE.charCodeAt(0);
const BODY_OCTET = element('Body');
/** C.15: a chunk that has an index. */
const CHUNK_INDEX = 0xa0;
const NO_REFERENCES: readonly Reference[] = Object.freeze([]);
/** A chunk of 3 to 258 octets, C.24; the next octet says how many. */
const CHUNK_START = 0x82;
const CHUNK_LENGTH_MIN = 3;
/** C.23: values of up to 8 octets, and of up to 264. */
const VALUE_SHORT_MAX = 8;

/** The last start of a document, which the next one of its sender has, too. */
interface KnownStart {
  readonly octets: string;
  readonly to: string;
  readonly action: string;
}

/** Reads headers in our own form, one after the other. */
export class OwnHeaderReader {
  readonly #strings = new Map<string, string>();
  #text = '';
  #at = 0;
  #start: KnownStart = { octets: PROLOGUE, to: '', action: '' };

  /** Undefined for any other document, right or wrong. */
  read(text: string): OwnHeader | undefined {
    this.#text = text;
    const start = this.#readStart();
    const header = start && this.#readRest(start);
    this.#text = '';
    return header;
  }

  /** Everything up to wsa:Action. */
  #readStart(): KnownStart | undefined {
    const known = this.#start;
    if (known.action !== '' && hasAt(this.#text, 0, known.octets)) {
      this.#at = known.octets.length;
      return known;
    }
    if (!hasAt(this.#text, 0, PROLOGUE)) return undefined;
    this.#at = PROLOGUE.length;
    const to = this.#isNext(TO) ? this.#recurringUri() : undefined;
    const action = to !== undefined && this.#isNextBlock(ACTION) ? this.#recurringUri() : undefined;
    if (to === undefined || action === undefined) return undefined;
    this.#start = { octets: flat(this.#text.slice(0, this.#at)), to, action };
    return this.#start;
  }

  #readRest({ to, action }: KnownStart): OwnHeader | undefined {
    let messageId: string | undefined;
    let relatesTo: string | undefined;
    if (this.#isNextBlock(MESSAGE_ID)) {
      messageId = this.#uri();
      if (messageId === undefined) return undefined;
    }
    if (this.#isNextBlock(RELATES_TO)) {
      relatesTo = this.#uri();
      if (relatesTo === undefined) return undefined;
    }
    let references = NO_REFERENCES;
    if (this.#isNextBlock(REFERENCES)) {
      const found = this.#references();
      if (found === undefined) return undefined;
      references = found;
    }
    if (!this.#isNext(END_TWICE_OCTET) || !this.#isNext(BODY_OCTET)) return undefined;
    return { properties: { to, action, messageId, relatesTo, references }, bodyStart: this.#at };
  }

  #references(): readonly Reference[] | undefined {
    // Most messages have one, and a list that grows takes room for seventeen.
    let references: Reference[] | undefined;
    while (this.#isNext(REFERENCE)) {
      const reference = this.#reference();
      if (reference === undefined) return undefined;
      if (references === undefined) references = [reference];
      else references.push(reference);
    }
    return references === undefined || hasDuplicateCid(references) ? undefined : references;
  }

  #isNext(value: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== value) return false;
    this.#at++;
    return true;
  }

  /** Whether the block that ends here is followed by one of this name. */
  #isNextBlock(name: number): boolean {
    const at = this.#at;
    if (this.#text.charCodeAt(at) !== END_OCTET || this.#text.charCodeAt(at + 1) !== name) return false;
    this.#at = at + 2;
    return true;
  }

  /** A URI that is the same in many messages. */
  #recurringUri(): string | undefined {
    const index = this.#text.charCodeAt(this.#at) - CHUNK_INDEX;
    if (index >= 0 && index < 0x14) return this.#chunkOf(index);
    const text = this.#uri();
    if (text === undefined) return undefined;
    const known = this.#strings.get(text);
    if (known !== undefined) return known;
    // A slice would keep all of its message alive.
    const copy = flat(text);
    if (this.#strings.size === STRINGS_MAX) this.#strings.clear();
    this.#strings.set(copy, copy);
    return copy;
  }

  /** C.28: one of the first 1040 chunks of the vocabulary, by what stands in its first octet. */
  #chunkOf(index: number): string | undefined {
    if (index < 0x10) {
      this.#at++;
      return VOCABULARY.chunks[index];
    }
    const place = ((index & 0x03) << 8) + this.#text.charCodeAt(this.#at + 1) + 0x10;
    this.#at += 2;
    return VOCABULARY.chunks[place];
  }

  #uri(): string | undefined {
    const start = this.#at + 2;
    const end = this.#chunkEnd();
    if (end === undefined) return undefined;
    const text = this.#text.slice(start, end);
    return URI.test(text) ? text : undefined;
  }

  /** Passes a chunk of usual length. */
  #chunkEnd(): number | undefined {
    const at = this.#at;
    if (this.#text.charCodeAt(at) !== CHUNK_START) return undefined;
    const end = at + 2 + this.#text.charCodeAt(at + 1) + CHUNK_LENGTH_MIN;
    if (!(end < this.#text.length)) return undefined;
    this.#at = end;
    return end;
  }

  #reference(): Reference | undefined {
    const cid = this.#isNext(CID) ? this.#value() : undefined;
    if (cid === undefined) return undefined;
    let tag: string | undefined;
    if (this.#isNext(TAG)) {
      tag = this.#value();
      if (tag === undefined) return undefined;
    }
    const length = this.#isNext(LENGTH) ? this.#value() : undefined;
    if (length === undefined || !this.#isNext(ACCESS)) return undefined;
    const access = VOCABULARY.attributeValues[this.#text.charCodeAt(this.#at++) - 0x80];
    if (access === undefined || !this.#isNext(END_TWICE_OCTET)) return undefined;
    return parseReference(cid, tag, length, access);
  }

  /** C.14: a value that is spelled out in UTF-8, of at most 264 octets. */
  #value(): string | undefined {
    const first = this.#text.charCodeAt(this.#at++);
    const isShort = first < VALUE_SHORT_MAX;
    if (!isShort && first !== VALUE_SHORT_MAX) return undefined;
    const count = isShort ? first + 1 : this.#text.charCodeAt(this.#at++) + VALUE_SHORT_MAX + 1;
    const start = this.#at;
    this.#at += count;
    return this.#text.slice(start, this.#at);
  }
}
