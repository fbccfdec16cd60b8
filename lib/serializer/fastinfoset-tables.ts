// The tables of a Fast Infoset document being read (ITU-T Rec. X.891, section 8): what the shared vocabulary has, what the document's
// own initial vocabulary adds, and what is added as the document is read. An index that no table has is refused. Names are judged
// when they come into a table, once.
import { MessageRefusedError, SoapFault } from '../soap/fault.js';
import { invalidOctet, type FastInfosetInput } from './fastinfoset-input.js';
import { HAS_NAMESPACE, HAS_PREFIX } from './fastinfoset-octets.js';
import {
  BUILT_IN_VOCABULARY,
  VOCABULARY,
  VOCABULARY_URI,
  type Vocabulary,
} from './fastinfoset-vocabulary.js';
import type { XmlLimits } from './xml-limits.js';
import { keptNamespace, keptNcName, XmlRefusal } from './xml-names.js';

/** Section 8.4.1 and others: what comes when a table has this many entries is not added. */
const ENTRIES_MAX = 2 ** 20;

/** A name as documents use it. */
export interface ReadName {
  readonly prefix: string;
  readonly namespace: string;
  readonly localName: string;
}

/** Entries of which the first stand fast. */
export class ReadTable<T> {
  readonly #base: readonly T[];
  #own: T[] | undefined;

  constructor(base: readonly T[]) {
    this.#base = base;
  }

  add(entry: T): void {
    if (this.#own === undefined) this.#own = [entry];
    else if (this.#base.length + this.#own.length < ENTRIES_MAX) this.#own.push(entry);
  }

  /** `index` counts from 1. Throws MessageRefusedError when there is no such entry. */
  get(index: number): T {
    const base = this.#base;
    const entry = index <= base.length ? base[index - 1] : this.#own?.[index - base.length - 1];
    if (entry === undefined) throw noEntry();
    return entry;
  }
}

/** C.2.5, the bits of the two octets that say what an initial vocabulary has. */
const enum Has {
  External = 0x1000,
  Alphabets = 0x800,
  Algorithms = 0x400,
  Prefixes = 0x200,
  Namespaces = 0x100,
  LocalNames = 0x80,
  OtherNames = 0x40,
  OtherUris = 0x20,
  Values = 0x10,
  Chunks = 0x08,
  OtherStrings = 0x04,
  Elements = 0x02,
  Attributes = 0x01,
}

export class ReadTables {
  readonly prefixes: ReadTable<string>;
  readonly namespaces: ReadTable<string>;
  readonly localNames: ReadTable<string>;
  readonly values: ReadTable<string>;
  readonly chunks: ReadTable<string>;
  /** Of comments, and of the version of XML. */
  readonly otherStrings = new ReadTable<string>([]);
  readonly elements: ReadTable<ReadName>;
  readonly attributes: ReadTable<ReadName>;
  readonly #nameLengthMax: number;

  constructor(vocabulary: Vocabulary, { nameLengthMax }: XmlLimits) {
    this.prefixes = new ReadTable(vocabulary.prefixes);
    this.namespaces = new ReadTable(vocabulary.namespaces);
    this.localNames = new ReadTable(vocabulary.localNames);
    this.values = new ReadTable(vocabulary.attributeValues);
    this.chunks = new ReadTable(vocabulary.chunks);
    this.elements = new ReadTable(vocabulary.elements);
    this.attributes = new ReadTable(vocabulary.attributes);
    this.#nameLengthMax = nameLengthMax;
  }

  /** The tables of a document that has an initial vocabulary, C.2.5. Throws MessageRefusedError. */
  static readInitial(input: FastInfosetInput, limits: XmlLimits): ReadTables {
    const has = (input.octet() << 8) | input.octet();
    if (has > 0x1fff) throw invalidOctet();
    if ((has & Has.External) !== 0) {
      const uri = input.utf8(input.lengthOnSecondBit(input.octet()));
      if (uri !== VOCABULARY_URI) throw unknownVocabulary(uri);
    }
    const tables = new ReadTables((has & Has.External) === 0 ? BUILT_IN_VOCABULARY : VOCABULARY, limits);
    tables.#readStrings(input, has);
    tables.#readNames(input, has);
    return tables;
  }

  #readStrings(input: FastInfosetInput, has: number): void {
    const pass = (): void => {
      input.skip(input.lengthOnSecondBit(input.octet()));
    };
    const string = (table: ReadTable<string>) => (): void => {
      const first = input.octet();
      if (first >= 0x40) throw invalidOctet();
      table.add(input.count(input.valueText(first)));
    };
    const each = (bit: Has, read: () => void): void => {
      if ((has & bit) === 0) return;
      for (let count = input.sequenceLength(); count > 0; count--) read();
    };
    // Alphabets and algorithms of its own are refused where they are used.
    each(Has.Alphabets, pass);
    each(Has.Algorithms, pass);
    each(Has.Prefixes, () => this.#literalPrefix(input, input.octet()));
    each(Has.Namespaces, () => this.#literalNamespace(input, input.octet()));
    each(Has.LocalNames, () => this.#literalLocalName(input, input.octet()));
    each(Has.OtherNames, pass);
    each(Has.OtherUris, pass);
    each(Has.Values, string(this.values));
    each(Has.Chunks, string(this.chunks));
    each(Has.OtherStrings, string(this.otherStrings));
  }

  /** C.16: name surrogates, which consist of indices. */
  #readNames(input: FastInfosetInput, has: number): void {
    for (const [bit, table] of [
      [Has.Elements, this.elements],
      [Has.Attributes, this.attributes],
    ] as const) {
      if ((has & bit) === 0) continue;
      for (let count = input.sequenceLength(); count > 0; count--) {
        const parts = input.octet();
        if (parts > (HAS_PREFIX | HAS_NAMESPACE)) throw invalidOctet();
        const prefix = (parts & HAS_PREFIX) === 0 ? '' : this.prefixes.get(surrogate(input));
        const namespace = (parts & HAS_NAMESPACE) === 0 ? '' : this.namespaces.get(surrogate(input));
        table.add(this.#name(prefix, namespace, this.localNames.get(surrogate(input))));
      }
    }
  }

  /** C.17.4 and C.18.4: a name that is spelled out; the last two bits of `first` say what it has. */
  literalName(input: FastInfosetInput, first: number, table: ReadTable<ReadName>): ReadName {
    const prefix = (first & HAS_PREFIX) === 0 ? '' : this.prefix(input);
    const namespace = (first & HAS_NAMESPACE) === 0 ? '' : this.namespace(input);
    const name = this.#name(prefix, namespace, this.#localName(input));
    table.add(name);
    return name;
  }

  /** C.13. */
  prefix(input: FastInfosetInput): string {
    const first = input.octet();
    return first < 0x80
      ? this.#literalPrefix(input, first)
      : this.prefixes.get(input.indexOnSecondBit(first));
  }

  /** C.13. */
  namespace(input: FastInfosetInput): string {
    const first = input.octet();
    return first < 0x80
      ? this.#literalNamespace(input, first)
      : this.namespaces.get(input.indexOnSecondBit(first));
  }

  #localName(input: FastInfosetInput): string {
    const first = input.octet();
    return first < 0x80
      ? this.#literalLocalName(input, first)
      : this.localNames.get(input.indexOnSecondBit(first));
  }

  #literalPrefix(input: FastInfosetInput, first: number): string {
    const text = keptNcName(input.utf8(input.lengthOnSecondBit(first)));
    // They stand for what they stand for everywhere. X.891, section 7.2.22 has the first in the table already.
    if (text === 'xml' || text === 'xmlns')
      throw new XmlRefusal('spells out the prefix xml or xmlns. Do not.');
    this.#checkLength(text.length);
    this.prefixes.add(text);
    return text;
  }

  #literalNamespace(input: FastInfosetInput, first: number): string {
    const text = keptNamespace(input.utf8(input.lengthOnSecondBit(first)));
    this.namespaces.add(text);
    return text;
  }

  #literalLocalName(input: FastInfosetInput, first: number): string {
    const text = keptNcName(input.utf8(input.lengthOnSecondBit(first)));
    this.#checkLength(text.length);
    this.localNames.add(text);
    return text;
  }

  #name(prefix: string, namespace: string, localName: string): ReadName {
    if (prefix !== '' && namespace === '') {
      throw MessageRefusedError.sender('The message has a name with a prefix and no namespace. Give it one.');
    }
    this.#checkLength(prefix === '' ? localName.length : prefix.length + 1 + localName.length);
    return { prefix, namespace, localName };
  }

  #checkLength(length: number): void {
    if (length > this.#nameLengthMax) throw MessageRefusedError.limit('a longer name', this.#nameLengthMax);
  }
}

/** C.16.3: an index that begins with a bit of padding. */
function surrogate(input: FastInfosetInput): number {
  const first = input.octet();
  if (first >= 0x80) throw invalidOctet();
  return input.indexOnSecondBit(first);
}

function noEntry(): MessageRefusedError {
  return MessageRefusedError.sender(
    'The message refers to an entry of a vocabulary table that it does not have. Correct the sender.',
  );
}

function unknownVocabulary(uri: string): MessageRefusedError {
  const shown = JSON.stringify(uri.slice(0, VOCABULARY_SHOWN_MAX));
  const reason = `The message needs the external vocabulary ${shown}; this side has ${VOCABULARY_URI}. Send without it.`;
  return new MessageRefusedError('ENCODING_UNSUPPORTED', new SoapFault({ code: 'Sender', reason }));
}

/** UTF-16 units of a peer's URI that are passed on. */
const VOCABULARY_SHOWN_MAX = 80;
