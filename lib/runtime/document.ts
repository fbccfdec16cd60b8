// The files that a runtime reads, manifests and policies: opens them within limits, walks their elements by what their schema
// allows, and collects everything that is wrong with a line and a column, so that one look tells all. Knows no schema itself.
import { isUtf8 } from 'node:buffer';
import { constants, type Stats } from 'node:fs';
import { open } from 'node:fs/promises';
import { messageOf } from './describe.js';
import { SplitplaneError, type ErrorCode } from '../errors.js';
import {
  readXmlDocument,
  XmlDocument,
  type TextPlace,
  type XmlDocumentLimits,
} from '../serializer/xml-document.js';
import { isBlank } from '../serializer/xml-text.js';
import type { XmlElement } from '../soap/infoset.js';

export type { TextPlace };

/** Something wrong in a document. */
export interface Problem extends TextPlace {
  /** A sentence or two: what is wrong, and what to write. */
  readonly message: string;
}

/** Problems that are told of one document; who wrote more of them has enough to do. */
export const PROBLEMS_MAX = 100;
/** Characters of a value that a problem quotes. */
const QUOTED_LENGTH_MAX = 80;
/** Namespace of the hints at a schema that editors put into a root element. XML Schema part 1, section 2.6. */
const XSI = 'http://www.w3.org/2001/XMLSchema-instance';
const SCHEMA_HINTS: readonly string[] = ['schemaLocation', 'noNamespaceSchemaLocation'];

/** A document that is not what it has to be. The message lists all problems as FILE:LINE:COLUMN: sentence. */
export class DocumentError extends SplitplaneError {
  constructor(
    code: ErrorCode,
    /** The file, as it was named. */
    readonly source: string,
    /** In the order of the document. */
    readonly problems: readonly Problem[],
  ) {
    const lines = problems.map(({ line, column, message }) => `${source}:${line}:${column}: ${message}`);
    super(code, lines.join('\n'));
  }
}

/** A kind of document. */
export interface DocumentKind {
  /** What it is called, as in "the manifest". */
  readonly what: string;
  readonly namespace: string;
  /** Local name of the root element. */
  readonly root: string;
  readonly bytesMax: number;
  readonly limits: XmlDocumentLimits;
  readonly error: new (source: string, problems: readonly Problem[]) => DocumentError;
}

/** What may stand in an element. */
export interface ElementForm<Child extends string> {
  readonly required?: readonly string[];
  readonly optional?: readonly string[];
  /** Child elements in the order in which they have to stand, with how many of each there may be. */
  readonly children?: Readonly<Record<Child, number>>;
  /** Whether the order is free after all. */
  readonly anyOrder?: boolean;
}

/** How the value of an attribute is read. */
export interface ValueForm<T> {
  /** The value, or undefined for a text that is none. */
  readonly read: (text: string) => T | undefined;
  /** What it has to be, as in "is not ...". */
  readonly says: string;
}

/** One of a few words. */
export function oneOf<T extends string>(words: readonly T[]): ValueForm<T> {
  return { read: (text) => words.find((word) => word === text), says: words.join(' or ') };
}

export const BOOLEAN: ValueForm<boolean> = {
  read: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
  says: 'true or false',
};

/** A whole number in decimal digits, without a sign or leading zeros. */
export function wholeNumber(min: number, max: number): ValueForm<number> {
  const read = (text: string): number | undefined => {
    const value = /^[1-9]\d{0,15}$|^0$/.test(text) ? Number(text) : NaN;
    return value >= min && value <= max ? value : undefined;
  };
  return { read, says: `a whole number from ${min} to ${max}` };
}

/** A text that passes a test. */
export function textForm(isValid: (text: string) => boolean, says: string): ValueForm<string> {
  return { read: (text) => (isValid(text) ? text : undefined), says };
}

/** One item or more, each once, with white space between them. */
export function listOf<T>(item: ValueForm<T>): ValueForm<readonly T[]> {
  const read = (text: string): readonly T[] | undefined => {
    const words = text.split(/[ \t\n\r]+/).filter((word) => word !== '');
    if (words.length === 0 || new Set(words).size < words.length) return undefined;
    const items: T[] = [];
    for (const word of words) {
      const value = item.read(word);
      if (value === undefined) return undefined;
      items.push(value);
    }
    return Object.freeze(items);
  };
  return { read, says: `a list, with spaces and each once, of ${item.says}` };
}

/** Walks a document's elements and collects what is wrong with them. */
export class Checker {
  readonly root: XmlElement;
  readonly #document: XmlDocument;
  readonly #kind: DocumentKind;
  readonly #problems: Problem[] = [];
  #problemCount = 0;

  constructor(document: XmlDocument, kind: DocumentKind) {
    this.root = document.root;
    this.#document = document;
    this.#kind = kind;
  }

  /** All that was found, in the order of the document. */
  get problems(): readonly Problem[] {
    const sorted = this.#problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
    const last = sorted.at(-1);
    const more = this.#problemCount - sorted.length;
    if (last !== undefined && more > 0) sorted.push({ ...last, message: `There are ${more} problems more.` });
    return sorted;
  }

  /** Where an element stands. */
  place(element: XmlElement): TextPlace {
    return this.#document.place(element);
  }

  /** Notes what is wrong with an element, or with an attribute of its that has no namespace. */
  problem(element: XmlElement, message: string, attribute?: string): void {
    const index = element.attributes.findIndex((a) => a.localName === attribute && a.namespace === '');
    this.#note(element, message, index < 0 ? undefined : index);
  }

  /** Checks an element's attributes by name, and that it holds the allowed elements and no text. Answers its children. */
  children<Child extends string = never>(
    element: XmlElement,
    form: ElementForm<Child>,
  ): Record<Child, XmlElement[]> {
    this.#checkAttributes(element, form);
    const names = Object.keys(form.children ?? {}) as Child[];
    const found = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
      Child,
      XmlElement[]
    >;
    this.#checkText(element);
    let order = 0;
    for (const child of element.elements()) {
      const at = child.namespace === this.#kind.namespace ? names.indexOf(child.localName as Child) : -1;
      const name = names[at];
      if (name === undefined) {
        const takes = listed('It takes', names);
        this.problem(child, `<${element.localName}> does not take ${nameOf(child)}. ${takes}`);
        continue;
      }
      if (at < order && form.anyOrder !== true) {
        this.problem(child, `<${name}> stands too late: the order is ${names.join(', ')}. Move it up.`);
      }
      order = Math.max(order, at);
      const max = form.children?.[name] ?? 0;
      if (found[name].push(child) === max + 1) {
        this.problem(child, `<${element.localName}> takes at most ${max} <${name}>. Leave this one out.`);
      }
    }
    return found;
  }

  /** The one child of an element that is there to hold somebody else's: in a namespace that is not the document's own. */
  foreign(element: XmlElement): XmlElement | undefined {
    this.#checkAttributes(element, {});
    this.#checkText(element);
    const [content, ...rest] = element.elements();
    if (content === undefined)
      this.problem(element, `<${element.localName}> is empty. Put one element into it.`);
    for (const more of rest)
      this.problem(more, `<${element.localName}> takes one element. Leave this one out.`);
    if (content?.namespace === '' || content?.namespace === this.#kind.namespace) {
      this.problem(
        content,
        `${nameOf(content)} is in no namespace of its own. Give it one with xmlns="...".`,
      );
    }
    return content;
  }

  /** The value of an attribute; undefined when it is absent, and when it is wrong, which is noted. */
  value<T>(element: XmlElement, attribute: string, form: ValueForm<T>): T | undefined {
    const text = element.attribute(attribute);
    if (text === undefined) return undefined;
    const value = form.read(text);
    if (value === undefined)
      this.problem(element, `${attribute}=${quoted(text)} is not ${form.says}.`, attribute);
    return value;
  }

  /** Notes each element whose value was there before. */
  unique(elements: readonly XmlElement[], attribute: string): void {
    const seen = new Map<string, XmlElement>();
    for (const element of elements) {
      const value = element.attribute(attribute);
      if (value === undefined) continue;
      const first = seen.get(value);
      if (first === undefined) {
        seen.set(value, element);
        continue;
      }
      const { line } = this.place(first);
      this.problem(
        element,
        `${attribute}=${quoted(value)} is taken by line ${line}. Give each its own.`,
        attribute,
      );
    }
  }

  #checkAttributes(element: XmlElement, form: ElementForm<string>): void {
    const { required = [], optional = [] } = form;
    element.attributes.forEach(({ namespace, localName }, index) => {
      const isKnown = namespace === '' && (required.includes(localName) || optional.includes(localName));
      const isHint = element === this.root && namespace === XSI && SCHEMA_HINTS.includes(localName);
      if (isKnown || isHint) return;
      const name = namespace === '' ? localName : `{${namespace}}${localName}`;
      const takes = listed('It takes', [...required, ...optional]);
      this.#note(element, `<${element.localName}> has no attribute ${quoted(name)}. ${takes}`, index);
    });
    for (const name of required) {
      if (element.attribute(name) !== undefined) continue;
      this.problem(element, `<${element.localName}> lacks its attribute ${name}. Write ${name}="...".`);
    }
  }

  #checkText(element: XmlElement): void {
    if (isBlank(element.text())) return;
    this.problem(element, `<${element.localName}> holds text; it takes elements only.`);
  }

  #note(element: XmlElement, message: string, attributeIndex: number | undefined): void {
    this.#problemCount++;
    if (this.#problems.length === PROBLEMS_MAX) return;
    this.#problems.push({ ...this.#document.place(element, attributeIndex), message });
  }
}

/**
 * Reads a document of a kind: `read` walks it from the checker's root, and its answer counts only if nothing was noted.
 * Throws the kind's error with everything that is wrong.
 */
export function checkDocument<T>(
  text: string,
  source: string,
  kind: DocumentKind,
  read: (checker: Checker) => T,
): T {
  const fail = (message: string, place: TextPlace = { line: 1, column: 1 }): never => {
    throw new kind.error(source, [{ line: place.line, column: place.column, message }]);
  };
  if (text.length > kind.bytesMax) fail(tooLong(kind));
  const document = readXmlDocument(text, kind.limits);
  if (!(document instanceof XmlDocument)) return fail(`The ${kind.what} ${document.predicate}`, document);
  const { root } = document;
  if (!root.is(kind.namespace, kind.root)) {
    const start = `<${kind.root} xmlns="${kind.namespace}">`;
    fail(`The root element is ${nameOf(root)}. Begin a ${kind.what} with ${start}.`, document.place(root));
  }
  const checker = new Checker(document, kind);
  const answer = read(checker);
  if (checker.problems.length > 0) throw new kind.error(source, checker.problems);
  return answer;
}

/**
 * The text of a file that is to hold a document of a kind. Throws SYSTEM, with the cause, if it cannot be read, and the
 * kind's error if it is no text of a size that is accepted or if `accepts` has something against the file itself.
 */
export async function readDocumentFile(
  path: string,
  kind: DocumentKind,
  accepts?: (stats: Stats) => string | undefined,
): Promise<string> {
  const fail = (message: string): never => {
    throw new kind.error(path, [{ line: 1, column: 1, message }]);
  };
  try {
    // Without blocking: opening a named pipe would wait for its writer.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = await file.stat();
      if (!stats.isFile()) fail(`The ${kind.what} is not a regular file. Name one.`);
      const objection = accepts?.(stats);
      if (objection !== undefined) fail(objection);
      if (stats.size > kind.bytesMax) fail(tooLong(kind));
      const bytes = await file.readFile();
      if (bytes.length > kind.bytesMax) fail(tooLong(kind));
      if (!isUtf8(bytes)) fail(`The ${kind.what} is not UTF-8. Save it in that encoding.`);
      return bytes.toString('utf8');
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof DocumentError) throw cause;
    const sentence = `The ${kind.what} ${path} cannot be read: ${messageOf(cause)}.`;
    throw new SplitplaneError('SYSTEM', sentence, { cause });
  }
}

function tooLong(kind: DocumentKind): string {
  return `The ${kind.what} is longer than ${kind.bytesMax} bytes. Make it less.`;
}

function nameOf(element: XmlElement): string {
  const { namespace, localName } = element;
  return `<${quoted(localName).slice(1, -1)}> of ${namespace === '' ? 'no namespace' : quoted(namespace)}`;
}

function listed(start: string, names: readonly string[]): string {
  return names.length === 0 ? `${start} none.` : `${start} ${names.join(', ')}.`;
}

/** A value as a problem shows it: on one line, and not at any length. */
function quoted(text: string): string {
  const shown = text.length > QUOTED_LENGTH_MAX ? `${text.slice(0, QUOTED_LENGTH_MAX)}...` : text;
  return JSON.stringify(shown);
}
