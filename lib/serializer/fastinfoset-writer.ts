// Infoset to the octets of a Fast Infoset document (ITU-T Rec. X.891), as a string with one character for each. Names that the
// shared vocabulary has are an index; others are spelled out once and are an index from then on. Text and values are spelled out
// each time, unless the vocabulary has them. Decides prefixes as the text form does. Knows nothing of bytes or frames.
import type { Envelope } from '../soap/envelope.js';
import type { XmlAttribute, XmlElement } from '../soap/infoset.js';
import { Names, Table, TABLE_SIZES, type Entry, type Name } from './fastinfoset-names.js';
import {
  ATTRIBUTES,
  attributeValue,
  attributeValueIndex,
  chunk,
  chunkIndex,
  ELEMENT_WITH_NAMESPACES,
  END,
  END_TWICE,
  flat,
  HAS_NAMESPACE,
  HAS_PREFIX,
  indexOnSecondBit,
  indexOnThirdBit,
  LITERAL_ATTRIBUTE_NAME,
  LITERAL_ELEMENT_NAME,
  NAMESPACE_ATTRIBUTE,
  octet,
} from './fastinfoset-octets.js';
import { BODY, OwnHeaderWriter, PROLOGUE } from './fastinfoset-own-form.js';
import { DECLARED_SCOPE, VOCABULARY } from './fastinfoset-vocabulary.js';
import { Declarations, isDeclared, type Place } from './xml-declarations.js';
import { tooDeep } from './xml-limits.js';

/** Where header blocks and the children of s:Body are. */
const TOP: Place = { declared: DECLARED_SCOPE, covered: DECLARED_SCOPE };
/** The depth of header blocks and of the body's children: s:Envelope is at 1. */
const BLOCK_DEPTH = 3;
/** Starts of elements that are remembered; beyond this, all are forgotten and remembered anew. */
const STARTS_MAX = 256;
const START_LENGTH_MAX = 512;

const VALUES = new Map(VOCABULARY.attributeValues.map((value, at) => [value, attributeValueIndex(at + 1)]));
const CHUNKS = new Map(VOCABULARY.chunks.map((text, at) => [text, chunkIndex(at + 1)]));
/** No longer text is looked up in the vocabulary: to hash it costs time. */
const CHUNK_LENGTH_MAX = Math.max(...VOCABULARY.chunks.map((text) => text.length));

const NO_PREFIXES: readonly string[] = [];
const NO_ENTRIES: readonly Entry[] = [];

/** Marks an element that was written once: when it comes again, its octets are worth keeping. */
const WRITTEN_ONCE = Symbol('written once as Fast Infoset');

/** What an element is in a document that has added nothing to the tables before it. */
class Written {
  constructor(
    readonly names: Names,
    readonly generation: number,
    readonly octets: string,
    /** Whether its end still waits for four more bits. */
    readonly ended: boolean,
    /** What it adds to the tables, in order. */
    readonly added: readonly Entry[],
  ) {}
}

/** The same of a start tag without attributes. */
interface WrittenStart {
  readonly prefix: string;
  readonly octets: string;
  readonly added: readonly Entry[];
  readonly place: Place;
}

/** Writes envelopes, one after the other. */
export class FastInfosetWriter {
  readonly #depthMax: number;
  readonly #names = new Names();
  readonly #ownHeader = new OwnHeaderWriter(spellChunk);
  /** By namespace, then by local name. */
  readonly #starts = new Map<string, Map<string, WrittenStart>>();
  #startCount = 0;
  #startGeneration = 0;
  #octets = '';
  /** The four bits of an end were written, or rather not yet: what follows says how the octet goes on. */
  #ended = false;
  /** The number of the document; what has an index of this number has it in this document. */
  #document = 0;
  #sizes: number[] = [...TABLE_SIZES];
  /** Whether the tables are still those of the vocabulary. */
  #isPristine = true;
  /** What was added to them. */
  #added: Entry[] = [];
  /** What was added to them, and nobody has looked yet. */
  #later: readonly Entry[] = NO_ENTRIES;

  constructor(depthMax: number) {
    this.#depthMax = depthMax;
  }

  /** The whole document. Throws INVALID_ARGUMENT for what XML cannot carry, LIMIT_EXCEEDED for what is too deep. */
  write(envelope: Envelope): string {
    this.#begin();
    if (envelope.isPlain) this.#octets = this.#ownHeader.write(envelope);
    else this.#header(envelope);
    for (const child of envelope.body) this.#recurring(child);
    // The body, the envelope, the document.
    const octets = this.#octets + (this.#ended ? END_TWICE + END_TWICE : END_TWICE + END);
    this.#octets = '';
    return octets;
  }

  #begin(): void {
    this.#names.trim();
    this.#document++;
    this.#ended = false;
    this.#isPristine = true;
    this.#later = NO_ENTRIES;
    if (this.#added.length === 0) return;
    this.#sizes = [...TABLE_SIZES];
    this.#added = [];
  }

  #header(envelope: Envelope): void {
    this.#octets = PROLOGUE;
    for (const block of envelope.blocks) this.#recurring(block);
    this.#end();
    this.#pad();
    this.#octets += BODY;
  }

  /** An element right inside s:Header or s:Body: as the first that adds to the tables it is the same in every document. */
  #recurring(element: XmlElement): void {
    const { encoded } = element;
    if (!this.#isPristine) {
      this.#element(element, TOP, BLOCK_DEPTH);
      return;
    }
    this.#pad();
    if (
      encoded instanceof Written &&
      encoded.names === this.#names &&
      encoded.generation === this.#names.generation
    ) {
      this.#octets += encoded.octets;
      this.#ended = encoded.ended;
      this.#addLater(encoded.added);
      return;
    }
    const before = this.#octets;
    this.#octets = '';
    this.#element(element, TOP, BLOCK_DEPTH);
    if (encoded === undefined) {
      element.encoded = WRITTEN_ONCE;
    } else {
      this.#octets = flat(this.#octets);
      const { generation } = this.#names;
      element.encoded = new Written(this.#names, generation, this.#octets, this.#ended, this.#allAdded());
    }
    this.#octets = before + this.#octets;
  }

  #element(element: XmlElement, outer: Place, depth: number): void {
    if (depth > this.#depthMax) throw tooDeep(this.#depthMax);
    this.#pad();
    const { attributes, children } = element;
    const place = attributes.length === 0 ? this.#start(element, outer) : this.#startWith(element, outer);
    for (const child of children) {
      if (typeof child !== 'string') {
        this.#element(child, place, depth + 1);
      } else if (child !== '') {
        this.#pad();
        this.#octets += spellChunk(child);
      }
    }
    this.#end();
  }

  /** A start tag without attributes. Answers where the children are. */
  #start(element: XmlElement, outer: Place): Place {
    const { namespace, localName, prefix, scope } = element;
    if (isDeclared(element, outer)) {
      this.#elementName(0, this.#names.name(prefix, namespace, localName));
      return outer;
    }
    if (outer !== TOP || scope !== undefined || !this.#isPristine) return this.#startWith(element, outer);
    const known = this.#knownStart(namespace, localName);
    if (known?.prefix === prefix) {
      this.#octets += known.octets;
      this.#addLater(known.added);
      return known.place;
    }
    const before = this.#octets;
    this.#octets = '';
    const place = this.#startWith(element, outer);
    const octets = flat(this.#octets);
    this.#keepStart(namespace, localName, { prefix, octets, added: this.#allAdded(), place });
    this.#octets = before + octets;
    return place;
  }

  #knownStart(namespace: string, localName: string): WrittenStart | undefined {
    if (this.#startGeneration !== this.#names.generation || this.#startCount > STARTS_MAX) {
      this.#starts.clear();
      this.#startCount = 0;
      this.#startGeneration = this.#names.generation;
    }
    return this.#starts.get(namespace)?.get(localName);
  }

  #keepStart(namespace: string, localName: string, start: WrittenStart): void {
    if (start.octets.length > START_LENGTH_MAX) return;
    let starts = this.#starts.get(namespace);
    if (starts === undefined) this.#starts.set(namespace, (starts = new Map<string, WrittenStart>()));
    starts.set(localName, start);
    this.#startCount++;
  }

  /** Any start tag, with its attributes. */
  #startWith(element: XmlElement, outer: Place): Place {
    const { attributes, namespace, localName } = element;
    const first = attributes.length === 0 ? 0 : ATTRIBUTES;
    if (isDeclared(element, outer)) {
      this.#elementName(first, this.#names.name(element.prefix, namespace, localName));
      if (first !== 0) this.#attributes(attributes, NO_PREFIXES);
      return outer;
    }
    const declarations = new Declarations(outer, element.scope);
    const prefix = declarations.forElement(namespace, element.prefix);
    const prefixes = attributes.map((one) =>
      one.namespace === '' ? '' : declarations.forAttribute(one.namespace, one.prefix),
    );
    if (declarations.added.length === 0) {
      this.#elementName(first, this.#names.name(prefix, namespace, localName));
    } else {
      this.#octets += octet(ELEMENT_WITH_NAMESPACES | first);
      for (const declaration of declarations.added)
        this.#declaration(declaration.prefix, declaration.namespace);
      this.#octets += END;
      this.#elementName(0, this.#names.name(prefix, namespace, localName));
    }
    if (first !== 0) this.#attributes(attributes, prefixes);
    return declarations.place;
  }

  /** C.12. An empty namespace takes the default one back. */
  #declaration(prefix: string, namespace: string): void {
    const has = (prefix === '' ? 0 : HAS_PREFIX) | (namespace === '' ? 0 : HAS_NAMESPACE);
    this.#octets += octet(NAMESPACE_ATTRIBUTE | has);
    if (prefix !== '') this.#string(this.#names.string(Table.Prefix, prefix));
    if (namespace !== '') this.#string(this.#names.string(Table.Namespace, namespace));
  }

  /** C.4. The list ends in four bits. */
  #attributes(attributes: readonly XmlAttribute[], prefixes: readonly string[]): void {
    attributes.forEach(({ namespace, localName, value }, at) => {
      const name = this.#names.name(prefixes[at] ?? '', namespace, localName);
      const { attribute } = name;
      if (this.#has(attribute)) this.#octets += indexOnSecondBit(0, attribute.index);
      else this.#literalName(LITERAL_ATTRIBUTE_NAME, name, attribute);
      this.#octets += VALUES.get(value) ?? attributeValue(value);
    });
    this.#end();
  }

  /** C.18; `first` are the two bits before it. */
  #elementName(first: number, name: Name): void {
    const { element } = name;
    if (this.#has(element)) this.#octets += indexOnThirdBit(first, element.index);
    else this.#literalName(first | LITERAL_ELEMENT_NAME, name, element);
  }

  #literalName(first: number, name: Name, entry: Entry): void {
    const { prefixEntry, namespaceEntry, localEntry } = name;
    const has =
      (prefixEntry === undefined ? 0 : HAS_PREFIX) | (namespaceEntry === undefined ? 0 : HAS_NAMESPACE);
    this.#octets += octet(first | has);
    if (prefixEntry !== undefined) this.#string(prefixEntry);
    if (namespaceEntry !== undefined) this.#string(namespaceEntry);
    this.#string(localEntry);
    this.#add(entry);
  }

  /** C.13. */
  #string(entry: Entry): void {
    if (this.#has(entry)) {
      this.#octets += indexOnSecondBit(0x80, entry.index);
      return;
    }
    this.#octets += entry.literal;
    this.#add(entry);
  }

  #has(entry: Entry): boolean {
    if (this.#later.length > 0) this.#addNow();
    return entry.document >= this.#document;
  }

  /** Most documents end before an index is asked for. */
  #addLater(entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    this.#later = entries;
    this.#isPristine = false;
  }

  #addNow(): void {
    const entries = this.#later;
    this.#later = NO_ENTRIES;
    for (const entry of entries) this.#add(entry);
  }

  #allAdded(): Entry[] {
    this.#addNow();
    return [...this.#added];
  }

  /** To be called when `#has` was. */
  #add(entry: Entry): void {
    entry.document = this.#document;
    const size = (this.#sizes[entry.table] ?? 0) + 1;
    this.#sizes[entry.table] = size;
    entry.index = size;
    this.#isPristine = false;
    this.#added.push(entry);
  }

  /** What comes next begins with an octet of its own. */
  #pad(): void {
    if (!this.#ended) return;
    this.#octets += END;
    this.#ended = false;
  }

  #end(): void {
    if (this.#ended) this.#octets += END_TWICE;
    this.#ended = !this.#ended;
  }
}

/** Text of one character or more. */
function spellChunk(text: string): string {
  return (text.length <= CHUNK_LENGTH_MAX ? CHUNKS.get(text) : undefined) ?? chunk(text);
}
