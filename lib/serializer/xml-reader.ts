// XML text to infoset, for one envelope at a time: the header first, the body when somebody asks. Tokens come from saxes,
// which is strict about XML 1.0; namespaces, SOAP's structure (SOAP 1.2 part 1, section 5) and the limits are enforced here.
// Everything read comes from a peer and is believed in nothing. Knows nothing of bytes or addressing.
import { SaxesParser, type SaxesAttributePlain } from 'saxes';
import { MessageRefusedError } from '../soap/fault.js';
import { NO_ATTRIBUTES, NO_CHILDREN, XmlElement, type XmlAttribute, type XmlNode } from '../soap/infoset.js';
import { SOAP, type NamespaceScope } from '../soap/namespaces.js';
import {
  noBody,
  otherThanHeaderAndBody,
  processingInstruction,
  refusalOf,
  textBetween,
  typeDeclaration,
} from './envelope-form.js';
import type { XmlLimits } from './xml-limits.js';
import {
  readAttributes,
  readDeclarations,
  resolvePrefix,
  splitName,
  XmlRefusal,
  type SplitName,
} from './xml-names.js';
import { isXml10InUtf8 } from './xml-preamble.js';
import { isBlank } from './xml-text.js';
import { PROLOGUE_SCOPE } from './xml-prologue.js';

/** Stands for what precedes the body of a document whose header was read without the parser. */
const OWN_START = '<s:Envelope><s:Body>';

/**
 * A start tag whose local name is Body, to its end. It cannot run past another "<", so that what only looks like a tag,
 * in a comment or a CDATA section, never hides a real one; the parser says which it is.
 */
const BODY_TAG = /<(?:[^\s<>&"'/=:]+:)?Body(?:\s(?:[^<>"']|"[^"<]*"|'[^'<]*')*|\/)?>/g;

/** UTF-16 units of the parser's message that are passed on. */
const PARSER_MESSAGE_LENGTH_MAX = 160;

/** An element that is open. */
class Frame {
  name: SplitName = { prefix: '', localName: '' };
  namespace = '';
  attributes: readonly XmlAttribute[] = NO_ATTRIBUTES;
  scope: NamespaceScope | undefined = undefined;
  children: XmlNode[] | undefined = undefined;
}

/** Where in the envelope the parser is. */
const enum Section {
  BeforeEnvelope,
  BeforeHeader,
  Header,
  BeforeBody,
  Body,
  AfterBody,
}

/** Reads one envelope; can read another when the body of the last was read. */
export class XmlReader {
  readonly #limits: XmlLimits;
  readonly #parser = new SaxesParser({ position: false });
  readonly #frames: Frame[] = [];
  #depth = 0;
  #elementCount = 0;
  #section = Section.BeforeEnvelope;
  /** The declarations in scope of the outermost element: none, or those of the prologue. */
  #outerScope: NamespaceScope | undefined = undefined;
  readonly #attributeNames: string[] = [];
  readonly #attributeValues: string[] = [];
  #blocks: XmlElement[] = [];
  #body: XmlElement[] = [];
  /** The text behind the s:Body start tag. */
  #rest = '';

  constructor(limits: XmlLimits) {
    this.#limits = limits;
    const parser = this.#parser;
    // Seven handlers, and not one more: on() adds each as a property by computed name, and beyond the seventh V8 turns the
    // parser into a hash table, which makes it ten times slower. Hence the XML declaration is looked at without one.
    parser.on('doctype', () => {
      throw typeDeclaration();
    });
    parser.on('processinginstruction', () => {
      throw processingInstruction();
    });
    parser.on('attribute', (attribute) => this.#onAttribute(attribute));
    parser.on('opentag', ({ name }) => this.#onOpenTag(name));
    parser.on('closetag', () => this.#onCloseTag());
    parser.on('text', (text) => this.#onText(text));
    parser.on('cdata', (text) => this.#onText(text));
  }

  /** The header blocks. The text behind the s:Body start tag is kept and not looked at. */
  readHeader(text: string): XmlElement[] {
    this.#reset(undefined);
    checkXmlDeclaration(text);
    // The parser is fed up to the end of each tag that may be the one that opens the body, and then asked.
    let at = 0;
    BODY_TAG.lastIndex = 0;
    while (this.#section < Section.Body && BODY_TAG.test(text)) {
      this.#write(text.slice(at, BODY_TAG.lastIndex));
      at = BODY_TAG.lastIndex;
    }
    this.#rest = text.slice(at);
    if (this.#section < Section.Body) this.readBody();
    return this.#blocks;
  }

  /** The children of s:Body, of the envelope whose header was read last. To be called once. */
  readBody(): XmlElement[] {
    const body = this.#body;
    this.#write(this.#rest);
    this.#rest = '';
    this.#end();
    return body;
  }

  /** The children of s:Body, of a document that begins as this project writes it, from the content of s:Body on. */
  readOwnBody(rest: string): XmlElement[] {
    this.#reset(PROLOGUE_SCOPE);
    this.#write(OWN_START);
    this.#rest = rest;
    return this.readBody();
  }

  #reset(outerScope: NamespaceScope | undefined): void {
    this.#depth = 0;
    this.#elementCount = 0;
    this.#section = Section.BeforeEnvelope;
    this.#outerScope = outerScope;
    this.#blocks = [];
    this.#body = [];
  }

  #write(text: string): void {
    try {
      this.#parser.write(text);
    } catch (error) {
      throw asRefusal(error);
    }
  }

  #end(): void {
    try {
      this.#parser.close();
    } catch (error) {
      throw asRefusal(error);
    }
    if (this.#section !== Section.AfterBody) throw noBody();
    this.#rest = '';
  }

  #onAttribute(attribute: SaxesAttributePlain): void {
    if (this.#attributeNames.length === this.#limits.attributesMax) {
      throw MessageRefusedError.limit('an element with more attributes', this.#limits.attributesMax);
    }
    this.#attributeNames.push(attribute.name);
    this.#attributeValues.push(attribute.value);
  }

  #onOpenTag(qualifiedName: string): void {
    const { depthMax, elementsMax, nameLengthMax } = this.#limits;
    const depth = this.#depth;
    if (depth >= depthMax) throw MessageRefusedError.limit('elements nested deeper', depthMax);
    if (++this.#elementCount > elementsMax) throw MessageRefusedError.limit('more elements', elementsMax);
    if (qualifiedName.length > nameLengthMax) throw MessageRefusedError.limit('a longer name', nameLengthMax);
    const frame = (this.#frames[depth] ??= new Frame());
    this.#depth = depth + 1;
    frame.scope = depth === 0 ? this.#outerScope : this.#frames[depth - 1]?.scope;
    frame.children = undefined;
    frame.attributes = NO_ATTRIBUTES;
    if (this.#attributeNames.length > 0) this.#takeAttributes(frame);
    const name = splitName(qualifiedName);
    frame.name = name;
    frame.namespace = resolvePrefix(frame.scope, name.prefix);
    if (depth < 2) this.#openSection(depth, frame);
  }

  #onCloseTag(): void {
    const depth = --this.#depth;
    const frame = this.#frames[depth];
    if (frame === undefined) return;
    if (depth < 2) {
      this.#section = this.#section === Section.Header ? Section.BeforeBody : Section.AfterBody;
      return;
    }
    const { name, namespace, attributes, scope, children } = frame;
    const element = new XmlElement(
      namespace,
      name.localName,
      children ?? NO_CHILDREN,
      attributes,
      name.prefix,
      scope,
    );
    if (depth === 2) {
      (this.#section === Section.Header ? this.#blocks : this.#body).push(element);
      return;
    }
    const parent = this.#frames[depth - 1];
    if (parent === undefined) return;
    if (parent.children === undefined) parent.children = [element];
    else parent.children.push(element);
  }

  #onText(text: string): void {
    const depth = this.#depth;
    const frame = this.#frames[depth - 1];
    if (frame === undefined || depth < 3) {
      if (isBlank(text)) return;
      throw textBetween();
    }
    const { children } = frame;
    const last = children?.length;
    if (children === undefined || last === undefined) {
      frame.children = [text];
      return;
    }
    // Comments, CDATA sections and the like cut text into pieces; the infoset knows only the text.
    const previous = children[last - 1];
    if (typeof previous === 'string') children[last - 1] = previous + text;
    else children.push(text);
  }

  /** s:Envelope, or what stands right inside it. */
  #openSection(depth: number, { namespace, name: { localName } }: Frame): void {
    if (depth === 0) {
      if (localName !== 'Envelope' || namespace !== SOAP)
        throw MessageRefusedError.versionMismatch({ namespace, localName });
      this.#section = Section.BeforeHeader;
    } else if (namespace === SOAP && localName === 'Header' && this.#section === Section.BeforeHeader) {
      this.#section = Section.Header;
    } else if (namespace === SOAP && localName === 'Body' && this.#section < Section.Body) {
      this.#section = Section.Body;
    } else {
      throw otherThanHeaderAndBody();
    }
  }

  /** Turns the attributes of the tag that was just read into declarations and attributes. */
  #takeAttributes(frame: Frame): void {
    const names = this.#attributeNames;
    const values = this.#attributeValues;
    frame.scope = readDeclarations(frame.scope, names, values, this.#limits);
    frame.attributes = readAttributes(frame.scope, names, values);
    names.length = 0;
    values.length = 0;
  }
}

/** XML 1.0 in UTF-8, or no message. SOAP 1.2 part 1, section 5. The parser sees to what else is wrong with it. */
function checkXmlDeclaration(text: string): void {
  if (isXml10InUtf8(text)) return;
  throw MessageRefusedError.sender(
    'The message declares itself something other than XML 1.0 in UTF-8. Send that.',
  );
}

/** What went wrong while parsing, as the refusal of the message: the parser says what is not well-formed. */
function asRefusal(error: unknown): MessageRefusedError {
  if (error instanceof MessageRefusedError) return error;
  if (error instanceof XmlRefusal) return refusalOf(error);
  // The parser's sentence may quote the message at any length.
  const why = (error instanceof Error ? error.message : String(error)).slice(0, PARSER_MESSAGE_LENGTH_MAX);
  return MessageRefusedError.sender(`The message is not well-formed XML: ${why} Correct the sender.`, {
    cause: error,
  });
}
