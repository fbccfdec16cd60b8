// The names that documents are written with, each with the index it has in the document that is being written: what a name was
// in the last document costs nothing to forget, because an index counts only together with the number of its document. Knows the
// shared vocabulary; writes nothing.
import { identifyingString } from './fastinfoset-octets.js';
import { VOCABULARY } from './fastinfoset-vocabulary.js';
import { checkLocalName } from './xml-text.js';

/** Names that are remembered, and their characters; beyond either, all are forgotten before the next document, and remembered anew. */
export const NAMES_MAX = 1024;
export const NAMES_CHARACTERS_MAX = 64 * 1024;

/** The tables that documents of this side add to. X.891, sections 8.4 and 8.5. */
export const enum Table {
  Prefix,
  Namespace,
  LocalName,
  Element,
  Attribute,
}

/** How many entries the tables have before the first of a document's own. */
export const TABLE_SIZES: readonly number[] = [
  VOCABULARY.prefixes.length,
  VOCABULARY.namespaces.length,
  VOCABULARY.localNames.length,
  VOCABULARY.elements.length,
  VOCABULARY.attributes.length,
];

/** Something that can have an index in one of the tables. */
export class Entry {
  /** The number of the last document in which it got an index; Infinity for an index that it has in all. */
  document = 0;
  index = 0;

  constructor(
    readonly table: Table,
    /** How it is spelled while it has none; '' for names, which are spelled by their parts. */
    readonly literal = '',
  ) {}
}

/** A name, in both of the tables that it can be in. */
export class Name {
  readonly element = new Entry(Table.Element);
  readonly attribute = new Entry(Table.Attribute);

  constructor(
    readonly prefix: string,
    readonly prefixEntry: Entry | undefined,
    readonly namespaceEntry: Entry | undefined,
    readonly localEntry: Entry,
    /** The same name with another prefix. */
    readonly next: Name | undefined,
  ) {}
}

/** All names of one writer. */
export class Names {
  readonly #strings: readonly Map<string, Entry>[] = [new Map(), new Map(), new Map()];
  /** By namespace, then by local name. */
  readonly #names = new Map<string, Map<string, Name>>();
  #count = 0;
  #characterCount = 0;
  /** How often the names were forgotten: an entry from before is not the one that a later document has. */
  generation = 0;

  constructor() {
    this.#fill();
  }

  /** To be called between documents. */
  trim(): void {
    if (this.#count <= NAMES_MAX && this.#characterCount <= NAMES_CHARACTERS_MAX) return;
    for (const table of this.#strings) table.clear();
    this.#names.clear();
    this.generation++;
    this.#fill();
  }

  /** A prefix or a namespace name. Throws INVALID_ARGUMENT for characters that XML 1.0 cannot carry. */
  string(table: Table.Prefix | Table.Namespace | Table.LocalName, text: string): Entry {
    const strings = this.#strings[table];
    const known = strings?.get(text);
    if (known !== undefined) return known;
    const entry = new Entry(table, identifyingString(text));
    strings?.set(text, entry);
    this.#count++;
    this.#characterCount += text.length;
    return entry;
  }

  /** A name with a prefix that stands for its namespace. Throws INVALID_ARGUMENT for a local name that is none. */
  name(prefix: string, namespace: string, localName: string): Name {
    const first = this.#names.get(namespace)?.get(localName);
    for (let at = first; at !== undefined; at = at.next) if (at.prefix === prefix) return at;
    return this.#add(prefix, namespace, localName, first);
  }

  #add(prefix: string, namespace: string, localName: string, next: Name | undefined): Name {
    checkLocalName(localName, prefix === '');
    const name = new Name(
      prefix,
      prefix === '' ? undefined : this.string(Table.Prefix, prefix),
      namespace === '' ? undefined : this.string(Table.Namespace, namespace),
      this.string(Table.LocalName, localName),
      next,
    );
    let names = this.#names.get(namespace);
    if (names === undefined) this.#names.set(namespace, (names = new Map<string, Name>()));
    names.set(localName, name);
    this.#count++;
    return name;
  }

  /** What the shared vocabulary has, with the index it has there. */
  #fill(): void {
    const { prefixes, namespaces, localNames, elements, attributes } = VOCABULARY;
    prefixes.forEach((text, at) => keep(this.string(Table.Prefix, text), at));
    namespaces.forEach((text, at) => keep(this.string(Table.Namespace, text), at));
    localNames.forEach((text, at) => keep(this.string(Table.LocalName, text), at));
    elements.forEach((name, at) => keep(this.#of(name).element, at));
    attributes.forEach((name, at) => keep(this.#of(name).attribute, at));
    this.#count = 0;
    this.#characterCount = 0;
  }

  #of({ prefix, namespace, localName }: (typeof VOCABULARY.elements)[number]): Name {
    return this.name(prefix, namespace, localName);
  }
}

function keep(entry: Entry, at: number): void {
  entry.document = Infinity;
  entry.index = at + 1;
}
