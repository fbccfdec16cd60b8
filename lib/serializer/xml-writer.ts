// Infoset to XML text. Every envelope begins with the same prologue, which declares the namespaces of this project; any
// other namespace is declared where it is needed. The text is joined from strings, because joining strings and encoding
// the result once is the fastest way from JavaScript to bytes. Knows nothing of bytes or frames.
import { tooDeep } from './xml-limits.js';
import type { Envelope } from '../soap/envelope.js';
import { XmlElement, type XmlAttribute, type XmlNode } from '../soap/infoset.js';
import { Declarations, isDeclared, type Place } from './xml-declarations.js';
import { writeOwnHeader } from './xml-own-form.js';
import {
  EPILOGUE,
  MIDDLE,
  PRETTY_EPILOGUE,
  PRETTY_MIDDLE,
  PRETTY_PROLOGUE,
  PROLOGUE,
  PROLOGUE_SCOPE,
} from './xml-prologue.js';
import {
  checkLocalName,
  escapeText,
  escapeValue,
  isAscii,
  isBlank,
  isPlainText,
  isPlainValue,
} from './xml-text.js';

const PROLOGUE_PLACE: Place = { declared: PROLOGUE_SCOPE, covered: PROLOGUE_SCOPE };
/** The depth of header blocks and of the body's children: s:Envelope is at 1. */
const BLOCK_DEPTH = 3;
/** Names whose spelling is remembered; beyond this, all are forgotten and remembered anew. */
const NAMES_MAX = 1024;

/** Text, and whether each of its characters is one byte in UTF-8. */
export class XmlText {
  constructor(
    readonly text: string,
    readonly ascii: boolean,
  ) {}
}

/** Marks an element that was written once: when it comes again, its text is worth keeping. */
const WRITTEN_ONCE = Symbol('written once');

/** How a name is spelled in the three places where it occurs. */
interface Spelling {
  readonly open: string;
  readonly close: string;
  readonly attribute: string;
  readonly ascii: boolean;
}

/** Writes envelopes, one after the other. */
export class XmlWriter {
  readonly #depthMax: number;
  /** By prefix, then by local name. */
  readonly #spellings = new Map<string, Map<string, Spelling>>();
  #spellingCount = 0;
  #ascii = true;
  readonly #escape = (text: string): string => this.#text(text);

  constructor(depthMax: number) {
    this.#depthMax = depthMax;
  }

  /** The whole document. Throws INVALID_ARGUMENT for what XML cannot carry, LIMIT_EXCEEDED for what is too deep. */
  write(envelope: Envelope): XmlText {
    this.#ascii = true;
    let text = envelope.isPlain ? writeOwnHeader(envelope, this.#escape) : this.#header(envelope);
    for (const child of envelope.body) text += this.#recurring(child);
    return new XmlText(text + EPILOGUE, this.#ascii);
  }

  #header(envelope: Envelope): string {
    let text = PROLOGUE;
    for (const block of envelope.blocks) text += this.#recurring(block);
    return text + MIDDLE;
  }

  /** The same, indented for people: white space is added where there is no text. */
  writePretty(envelope: Envelope): string {
    const lines = (element: XmlElement): string => {
      const copy = indented(element, BLOCK_DEPTH, this.#depthMax);
      return `\n    ${this.#element(copy, PROLOGUE_PLACE, BLOCK_DEPTH)}`;
    };
    const header = envelope.blocks.map(lines).join('');
    const body = envelope.body.map(lines).join('');
    return PRETTY_PROLOGUE + header + PRETTY_MIDDLE + body + PRETTY_EPILOGUE;
  }

  /** One element as a document of its own, indented. */
  writePrettyElement(element: XmlElement): string {
    const nowhere: Place = { declared: undefined, covered: undefined };
    return this.#element(indented(element, 1, this.#depthMax), nowhere, 1);
  }

  /** An element right inside s:Header or s:Body: its text depends on nothing around it, so it can be kept. */
  #recurring(element: XmlElement): string {
    const { encoded } = element;
    if (encoded instanceof XmlText) {
      if (!encoded.ascii) this.#ascii = false;
      return encoded.text;
    }
    const asciiBefore = this.#ascii;
    this.#ascii = true;
    const text = this.#element(element, PROLOGUE_PLACE, BLOCK_DEPTH);
    element.encoded = encoded === WRITTEN_ONCE ? new XmlText(text, this.#ascii) : WRITTEN_ONCE;
    if (!asciiBefore) this.#ascii = false;
    return text;
  }

  #element(element: XmlElement, outer: Place, depth: number): string {
    if (depth > this.#depthMax) throw tooDeep(this.#depthMax);
    const { attributes, children } = element;
    let place = outer;
    let prefix = element.prefix;
    let inside = '';
    if (isDeclared(element, outer)) {
      for (const attribute of attributes) inside += this.#attribute('', attribute);
    } else {
      const declarations = new Declarations(outer, element.scope);
      prefix = declarations.forElement(element.namespace, prefix);
      for (const attribute of attributes) {
        const { namespace, prefix: hint } = attribute;
        inside += this.#attribute(
          namespace === '' ? '' : declarations.forAttribute(namespace, hint),
          attribute,
        );
      }
      for (const { prefix: name, namespace } of declarations.added) {
        if (!isAscii(name)) this.#ascii = false;
        inside += ` xmlns${name === '' ? '' : ':'}${name}="${this.#value(namespace)}"`;
      }
      place = declarations.place;
    }
    const { open, close } = this.#spelling(prefix, element.localName);
    if (children.length === 0) return `${open}${inside}/>`;
    let content = '';
    for (const child of children) {
      content += typeof child === 'string' ? this.#text(child) : this.#element(child, place, depth + 1);
    }
    return `${open}${inside}>${content}${close}`;
  }

  #attribute(prefix: string, attribute: XmlAttribute): string {
    return `${this.#spelling(prefix, attribute.localName).attribute}${this.#value(attribute.value)}"`;
  }

  #text(text: string): string {
    if (isPlainText(text)) return text;
    if (!isAscii(text)) this.#ascii = false;
    return escapeText(text);
  }

  #value(value: string): string {
    if (isPlainValue(value)) return value;
    if (!isAscii(value)) this.#ascii = false;
    return escapeValue(value);
  }

  #spelling(prefix: string, localName: string): Spelling {
    const spelling = this.#spellings.get(prefix)?.get(localName) ?? this.#newSpelling(prefix, localName);
    if (!spelling.ascii) this.#ascii = false;
    return spelling;
  }

  #newSpelling(prefix: string, localName: string): Spelling {
    checkLocalName(localName, prefix === '');
    const name = prefix === '' ? localName : `${prefix}:${localName}`;
    const spelling = { open: `<${name}`, close: `</${name}>`, attribute: ` ${name}="`, ascii: isAscii(name) };
    if (this.#spellingCount === NAMES_MAX) {
      this.#spellings.clear();
      this.#spellingCount = 0;
    }
    let names = this.#spellings.get(prefix);
    if (names === undefined) this.#spellings.set(prefix, (names = new Map<string, Spelling>()));
    names.set(localName, spelling);
    this.#spellingCount++;
    return spelling;
  }
}

/** A copy with line breaks between the elements of element-only content; what is too deep stays as it is. */
function indented(element: XmlElement, depth: number, depthMax: number): XmlElement {
  const { namespace, localName, attributes, prefix, scope } = element;
  const isMixed = element.children.some((child) => typeof child === 'string' && !isBlank(child));
  const inner = element.elements();
  if (isMixed || inner.length === 0 || depth > depthMax) return element;
  const lineBreak = `\n${'  '.repeat(depth)}`;
  const children: XmlNode[] = [];
  for (const child of inner) children.push(lineBreak, indented(child, depth + 1, depthMax));
  children.push(lineBreak.slice(0, -2));
  return new XmlElement(namespace, localName, children, attributes, prefix, scope);
}
