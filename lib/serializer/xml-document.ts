// XML files to elements that know where they stand: for documents that people write, whose mistakes are answered with a line
// and a column. Tokens come from saxes; namespaces and the limits are enforced here; document type declarations are refused.
// Knows nothing of files, nor of what the document means.
import { SaxesParser, type SaxesAttributePlain } from 'saxes';
import { NO_ATTRIBUTES, NO_CHILDREN, XmlElement, type XmlAttribute, type XmlNode } from '../soap/infoset.js';
import type { NamespaceScope } from '../soap/namespaces.js';
import type { XmlLimits } from './xml-limits.js';
import {
  isDeclaration,
  readAttributes,
  readDeclarations,
  resolvePrefix,
  splitName,
  XmlRefusal,
  type SplitName,
} from './xml-names.js';
import { isXml10InUtf8 } from './xml-preamble.js';

/** The limits that hold for a document: those of an envelope but for its size, which whoever has the file sees to. */
export type XmlDocumentLimits = Pick<
  XmlLimits,
  'depthMax' | 'elementsMax' | 'attributesMax' | 'declarationsMax' | 'nameLengthMax' | 'namespaceLengthMax'
>;

/** A place in a text, as editors count: from 1, columns in UTF-16 units. */
export interface TextPlace {
  readonly line: number;
  readonly column: number;
}

/** Why a text is no document, and where that shows. */
export interface XmlFlaw extends TextPlace {
  /** A sentence without its subject, which is for the caller to name. */
  readonly predicate: string;
}

/** Offsets of an element and of its attributes that are not declarations, in order. */
interface Offsets {
  readonly start: number;
  readonly attributes: readonly number[];
}

const NO_OFFSETS: readonly number[] = [];
/** UTF-16 units of the parser's message that are passed on. */
const PARSER_MESSAGE_LENGTH_MAX = 160;
/** White space as XML knows it, to skip. Sticky: matches where lastIndex says. */
const SPACES = /[ \t\r\n]*/y;
const NAME = /[^ \t\r\n/>=]*/y;
const LINE_BREAK = /\r\n?|\n/g;

/** A document that was read. Places are computed when somebody asks. */
export class XmlDocument {
  #lineStarts: number[] | undefined;

  constructor(
    readonly root: XmlElement,
    private readonly text: string,
    private readonly offsets: ReadonlyMap<XmlElement, Offsets>,
  ) {}

  /** Where an element of this document starts, or the attribute of its that has this index. */
  place(element: XmlElement, attributeIndex?: number): TextPlace {
    const offsets = this.offsets.get(element);
    const attribute = attributeIndex === undefined ? undefined : offsets?.attributes[attributeIndex];
    this.#lineStarts ??= lineStarts(this.text);
    return placeOf(this.text, this.#lineStarts, attribute ?? offsets?.start ?? 0);
  }
}

/** Reads a whole document, or says what keeps it from being one. Never throws for what the text holds. */
export function readXmlDocument(text: string, limits: XmlDocumentLimits): XmlDocument | XmlFlaw {
  const reader = new DocumentReader(text, limits);
  try {
    const root = reader.read();
    return new XmlDocument(root, text, reader.offsets);
  } catch (error) {
    // What was read last is where it shows.
    const place = placeOf(text, lineStarts(text), Math.max(0, Math.min(reader.position, text.length) - 1));
    return { ...place, predicate: predicateOf(error) };
  }
}

/** An element that is open. */
class Frame {
  children: XmlNode[] | undefined = undefined;

  constructor(
    readonly name: SplitName,
    readonly namespace: string,
    readonly attributes: readonly XmlAttribute[],
    readonly scope: NamespaceScope | undefined,
    readonly offsets: Offsets,
  ) {}
}

class DocumentReader {
  readonly offsets = new Map<XmlElement, Offsets>();
  readonly #text: string;
  readonly #limits: XmlDocumentLimits;
  readonly #parser = new SaxesParser({ position: false });
  readonly #frames: Frame[] = [];
  #root: XmlElement | undefined;
  #elementCount = 0;
  #attributeNames: string[] = [];
  #attributeValues: string[] = [];
  #attributeOffsets: number[] = [];
  /** Where the last attribute of the open tag ended. */
  #attributeEnd = 0;

  constructor(text: string, limits: XmlDocumentLimits) {
    this.#text = text;
    this.#limits = limits;
    const parser = this.#parser;
    // No more than seven handlers, for the reason that XmlReader gives. Comments and processing instructions pass unseen.
    parser.on('doctype', () => {
      throw new XmlRefusal('has a document type declaration. Leave it out: entities are not read.');
    });
    parser.on('attribute', (attribute) => this.#onAttribute(attribute));
    parser.on('opentag', ({ name }) => this.#onOpenTag(name));
    parser.on('closetag', () => this.#onCloseTag());
    parser.on('text', (text) => this.#onText(text));
    parser.on('cdata', (text) => this.#onText(text));
  }

  /** How far the parser has come. */
  get position(): number {
    return this.#parser.position;
  }

  read(): XmlElement {
    if (!isXml10InUtf8(this.#text)) {
      throw new XmlRefusal('declares itself something other than XML 1.0 in UTF-8. Write that.');
    }
    this.#parser.write(this.#text).close();
    if (this.#root === undefined) throw new XmlRefusal('has no element.');
    return this.#root;
  }

  #onAttribute({ name, value }: SaxesAttributePlain): void {
    const count = this.#attributeNames.length;
    if (count === this.#limits.attributesMax) {
      throw new XmlRefusal('an element with more attributes', this.#limits.attributesMax);
    }
    if (!isDeclaration(name)) {
      const before = count === 0 ? this.#endOfName(this.#startOfTag()) : this.#attributeEnd;
      this.#attributeOffsets.push(skip(SPACES, this.#text, before));
    }
    // The parser reports an attribute when it has read the closing quote.
    this.#attributeEnd = this.#parser.position;
    this.#attributeNames.push(name);
    this.#attributeValues.push(value);
  }

  #onOpenTag(qualifiedName: string): void {
    const { depthMax, elementsMax, nameLengthMax } = this.#limits;
    if (this.#frames.length >= depthMax) throw new XmlRefusal('elements nested deeper', depthMax);
    if (++this.#elementCount > elementsMax) throw new XmlRefusal('more elements', elementsMax);
    if (qualifiedName.length > nameLengthMax) throw new XmlRefusal('a longer name', nameLengthMax);
    const outer = this.#frames.at(-1)?.scope;
    const start = this.#startOfTag();
    const name = splitName(qualifiedName);
    if (this.#attributeNames.length === 0) {
      const offsets = { start, attributes: NO_OFFSETS };
      this.#frames.push(new Frame(name, resolvePrefix(outer, name.prefix), NO_ATTRIBUTES, outer, offsets));
      return;
    }
    const scope = readDeclarations(outer, this.#attributeNames, this.#attributeValues, this.#limits);
    const attributes = readAttributes(scope, this.#attributeNames, this.#attributeValues);
    const offsets = { start, attributes: this.#attributeOffsets };
    this.#frames.push(new Frame(name, resolvePrefix(scope, name.prefix), attributes, scope, offsets));
    this.#attributeNames = [];
    this.#attributeValues = [];
    this.#attributeOffsets = [];
  }

  #onCloseTag(): void {
    const frame = this.#frames.pop();
    if (frame === undefined) return;
    const { name, namespace, attributes, scope, children, offsets } = frame;
    const inside = children ?? NO_CHILDREN;
    const element = new XmlElement(namespace, name.localName, inside, attributes, name.prefix, scope);
    this.offsets.set(element, offsets);
    const parent = this.#frames.at(-1);
    if (parent === undefined) this.#root = element;
    else (parent.children ??= []).push(element);
  }

  #onText(text: string): void {
    // Outside the root there is only white space; the parser sees to that.
    const frame = this.#frames.at(-1);
    if (frame === undefined) return;
    const children = (frame.children ??= []);
    const last = children.length - 1;
    const previous = children[last];
    // Comments and CDATA sections cut text into pieces; the infoset knows only the text.
    if (typeof previous === 'string') children[last] = previous + text;
    else children.push(text);
  }

  /** The start of the tag whose end, or one of whose attributes, was just read: neither can hold another "<". */
  #startOfTag(): number {
    return this.#text.lastIndexOf('<', this.#parser.position - 1);
  }

  #endOfName(startOfTag: number): number {
    return skip(NAME, this.#text, startOfTag + 1);
  }
}

function skip(pattern: RegExp, text: string, from: number): number {
  pattern.lastIndex = from;
  pattern.test(text);
  return pattern.lastIndex;
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (const { index, 0: lineBreak } of text.matchAll(LINE_BREAK)) starts.push(index + lineBreak.length);
  return starts;
}

function placeOf(text: string, starts: readonly number[], offset: number): TextPlace {
  let line = 0;
  let behind = starts.length;
  while (behind - line > 1) {
    const middle = (line + behind) >>> 1;
    if ((starts[middle] ?? Infinity) <= offset) line = middle;
    else behind = middle;
  }
  // A byte order mark is no character of the first line.
  const start = (starts[line] ?? 0) + (line === 0 && text.startsWith('\uFEFF') ? 1 : 0);
  return { line: line + 1, column: Math.max(0, offset - start) + 1 };
}

function predicateOf(error: unknown): string {
  if (error instanceof XmlRefusal) {
    const { message, limit } = error;
    return limit === undefined ? message : `has ${message} than ${limit}. Make it less.`;
  }
  // The parser's sentence may quote the document at any length.
  const why = (error instanceof Error ? error.message : String(error)).slice(0, PARSER_MESSAGE_LENGTH_MAX);
  return `is not well-formed XML: ${why}${why.endsWith('.') ? '' : '.'}`;
}
