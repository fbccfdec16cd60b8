// Fast Infoset (ITU-T Rec. X.891) to infoset, for one envelope: the header first, the body when somebody asks. Any document that
// holds a SOAP envelope is read, with the shared vocabulary, with one of its own or with none. SOAP's structure, namespaces and the
// limits are enforced as in the text form. Everything read comes from a peer and is believed in nothing.
import { MessageRefusedError } from '../soap/fault.js';
import { NO_ATTRIBUTES, NO_CHILDREN, XmlElement, type XmlAttribute, type XmlNode } from '../soap/infoset.js';
import { resolveBuiltIn, SOAP, type NamespaceScope } from '../soap/namespaces.js';
import {
  noBody,
  otherThanHeaderAndBody,
  processingInstruction,
  refusalOf,
  textBetween,
  typeDeclaration,
} from './envelope-form.js';
import { FastInfosetInput, invalidOctet } from './fastinfoset-input.js';
import {
  ATTRIBUTES,
  ELEMENT_WITH_NAMESPACES,
  flat,
  HAS_NAMESPACE,
  HAS_PREFIX,
  LITERAL_ATTRIBUTE_NAME,
  LITERAL_ELEMENT_NAME,
  NAMESPACE_ATTRIBUTE,
} from './fastinfoset-octets.js';
import { MAGIC } from './fastinfoset-own-form.js';
import { ReadTables, type ReadName, type ReadTable } from './fastinfoset-tables.js';
import { BUILT_IN_VOCABULARY, DECLARED_SCOPE, VOCABULARY } from './fastinfoset-vocabulary.js';
import type { XmlLimits } from './xml-limits.js';
import { checkUnique, declare, XmlRefusal } from './xml-names.js';
import { hasAt, isBlank } from './xml-text.js';

/** X.891, section 12.3: a document may begin with an XML declaration that says what follows. */
const XML_DECLARATION = /^<\?xml (?:version='1\.[01]' )?encoding='finf'(?: standalone='(?:yes|no)')?\?>/;

/** C.2.3, the bits of the octet that says what a document has beside its content. */
const enum Has {
  AdditionalData = 0x40,
  Vocabulary = 0x20,
  Notations = 0x10,
  UnparsedEntities = 0x08,
  EncodingScheme = 0x04,
  Standalone = 0x02,
  Version = 0x01,
  Nothing = 0x80,
}

/** The octets with which the items of content begin that are not elements, C.3.7. */
const CHUNK = 0x80;
const CHUNK_INDEX = 0x20;
const CHUNK_ADDED = 0x10;
const OTHER = 0xc0;
const TYPE_DECLARATION = 0xc4;
const ENTITY_REFERENCE = 0xc8;
const PROCESSING_INSTRUCTION = 0xe1;
const COMMENT = 0xe2;
const END_OF_LIST = 0xf0;
const END_OF_TWO = 0xff;
/** The depth of header blocks and of the body's children: s:Envelope is at 1. */
const BLOCK_DEPTH = 3;
/** In the place of an octet: the list has ended. */
const ENDED = -1;
const VALUE_ADDED = 0x40;
/** C.26: the index 0. */
const EMPTY_VALUE = 0xff;

/** The start tag of the first child of a body, as it stands in a document of ours. */
interface KnownStart {
  readonly octets: string;
  readonly name: ReadName;
  readonly scope: NamespaceScope | undefined;
}

/** Starts that are remembered. */
const STARTS_MAX = 4;
const START_LENGTH_MAX = 512;

/** The starts of bodies that came last: messages of one kind begin alike. They decide speed, and never the outcome. */
export class KnownStarts {
  readonly #starts: KnownStart[] = [];
  #next = 0;

  find(octets: string, at: number): KnownStart | undefined {
    for (const start of this.#starts) if (hasAt(octets, at, start.octets)) return start;
    return undefined;
  }

  keep(octets: string, name: ReadName, scope: NamespaceScope | undefined): void {
    if (octets.length > START_LENGTH_MAX) return;
    // A slice would keep all of its message alive.
    this.#starts[this.#next] = { octets: flat(octets), name, scope };
    this.#next = (this.#next + 1) % STARTS_MAX;
  }
}

/** Reads one envelope. */
export class FastInfosetReader {
  readonly #limits: XmlLimits;
  readonly #input: FastInfosetInput;
  /** Made when somebody asks, because most bodies need none. */
  #madeTables: ReadTables | undefined = undefined;
  /** Where a start tag stands that was recognised: what it adds to the tables is added when they are made. */
  #recognisedAt = 0;
  #vocabulary = BUILT_IN_VOCABULARY;
  #elementCount = 0;
  /** The octet that ended a list ended the one around it, too. */
  #outerEnded = false;
  /** The declarations in scope of the element whose start was read last, its attributes, and whether that was all of it. */
  #scope: NamespaceScope | undefined = undefined;
  #attributes: readonly XmlAttribute[] = NO_ATTRIBUTES;
  #isEmpty = false;

  constructor(octets: string, limits: XmlLimits) {
    this.#limits = limits;
    this.#input = new FastInfosetInput(octets, limits.envelopeBytesMax);
  }

  /** The body of a document whose header was read by offsets: the content of s:Body starts at `bodyStart`. */
  readOwnBody(bodyStart: number, starts: KnownStarts): XmlElement[] {
    const input = this.#input;
    input.at = bodyStart;
    this.#vocabulary = VOCABULARY;
    this.#elementCount = 2;
    return this.#refusing(() => {
      const body: XmlElement[] = [];
      const known = starts.find(input.octets, bodyStart);
      if (known !== undefined) {
        this.#recognisedAt = bodyStart;
        input.at += known.octets.length;
        this.#countElement();
        body.push(this.#readContent(known.name, NO_ATTRIBUTES, known.scope, BLOCK_DEPTH));
      } else {
        const first = this.#nextElement();
        if (first === ENDED) return this.#readEnd(body);
        body.push(this.#readFirst(first, starts));
      }
      return this.#readEnd(this.#readElements(body, DECLARED_SCOPE));
    });
  }

  #readFirst(first: number, starts: KnownStarts): XmlElement {
    const from = this.#input.at - 1;
    const name = this.#readStart(first, DECLARED_SCOPE, BLOCK_DEPTH);
    const scope = this.#scope;
    const attributes = this.#attributes;
    if (attributes.length === 0) starts.keep(this.#input.octets.slice(from, this.#input.at), name, scope);
    return this.#readContent(name, attributes, scope, BLOCK_DEPTH);
  }

  /** The header blocks. What follows the start of s:Body is not looked at. */
  readHeader(): XmlElement[] {
    return this.#refusing(() => {
      this.#readPreamble();
      const root = this.#readStart(this.#rootStart(), undefined, 1);
      if (root.localName !== 'Envelope' || root.namespace !== SOAP)
        throw MessageRefusedError.versionMismatch(root);
      if (this.#isEmpty) throw noBody();
      const scope = this.#scope;
      let blocks: XmlElement[] | undefined;
      for (;;) {
        const first = this.#nextElement();
        if (first === ENDED) throw noBody();
        const { namespace, localName } = this.#readStart(first, scope, 2);
        if (namespace !== SOAP) throw otherThanHeaderAndBody();
        if (localName === 'Body') return blocks ?? [];
        if (localName !== 'Header' || blocks !== undefined) throw otherThanHeaderAndBody();
        blocks = this.#readBlocks();
      }
    });
  }

  #rootStart(): number {
    const first = this.#nextItem();
    if (first >= 0 && first < CHUNK) return first;
    throw MessageRefusedError.sender('The message has no element. Send a SOAP 1.2 envelope.');
  }

  /** The children of s:Body, of the envelope whose header was read. To be called once. */
  readBody(): XmlElement[] {
    return this.#refusing(() => {
      return this.#readEnd(this.#readBlocks());
    });
  }

  /** Everything behind s:Body. */
  #readEnd(body: XmlElement[]): XmlElement[] {
    if (this.#nextElement() !== ENDED) throw otherThanHeaderAndBody();
    // Behind the envelope a document has comments at most.
    if (this.#nextItem() !== ENDED || this.#input.at !== this.#input.octets.length) {
      throw MessageRefusedError.sender('The message goes on behind its envelope. Send one document.');
    }
    return body;
  }

  get #tables(): ReadTables {
    return this.#madeTables ?? this.#makeTables();
  }

  #makeTables(): ReadTables {
    const input = this.#input;
    const tables = new ReadTables(this.#vocabulary, this.#limits);
    this.#madeTables = tables;
    if (this.#recognisedAt === 0) return tables;
    const { at } = input;
    input.at = this.#recognisedAt;
    this.#readStart(input.octet(), DECLARED_SCOPE, BLOCK_DEPTH);
    this.#elementCount--;
    input.at = at;
    return tables;
  }

  #refusing<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw error instanceof XmlRefusal ? refusalOf(error) : error;
    }
  }

  /** C.2: everything before the content of the document. */
  #readPreamble(): void {
    const input = this.#input;
    const declaration = XML_DECLARATION.exec(input.octets)?.[0];
    input.at = declaration?.length ?? 0;
    if (!input.octets.startsWith(MAGIC, input.at)) {
      throw MessageRefusedError.sender(
        'The message is not a Fast Infoset document of version 1 (ITU-T Rec. X.891). Send one.',
      );
    }
    if (declaration?.includes('1.1') === true) throw notXml10();
    input.at += MAGIC.length;
    const has = input.octet();
    if ((has & Has.Nothing) !== 0) throw invalidOctet();
    if ((has & Has.AdditionalData) !== 0) {
      // For whoever knows its identifier, in pairs of that and the data.
      for (let count = input.sequenceLength() * 2; count > 0; count--) this.#skipString();
    }
    if ((has & Has.Vocabulary) !== 0) this.#madeTables = ReadTables.readInitial(input, this.#limits);
    if ((has & (Has.Notations | Has.UnparsedEntities)) !== 0) throw typeDeclaration();
    if ((has & Has.EncodingScheme) !== 0) this.#skipString();
    if ((has & Has.Standalone) !== 0 && input.octet() > 1) throw invalidOctet();
    if ((has & Has.Version) !== 0 && this.#readValue(this.#tables.otherStrings) !== '1.0') throw notXml10();
  }

  #skipString(): void {
    const first = this.#input.octet();
    if (first >= 0x80) throw invalidOctet();
    this.#input.skip(this.#input.lengthOnSecondBit(first));
  }

  /** The children of s:Header or s:Body, whose start was read last. */
  #readBlocks(): XmlElement[] {
    return this.#isEmpty ? [] : this.#readElements([], this.#scope);
  }

  #readElements(into: XmlElement[], scope: NamespaceScope | undefined): XmlElement[] {
    for (let first = this.#nextElement(); first !== ENDED; first = this.#nextElement()) {
      into.push(this.#readElement(first, scope, BLOCK_DEPTH));
    }
    return into;
  }

  /** The first octet of the next element, where only elements belong; or ENDED. */
  #nextElement(): number {
    for (;;) {
      const first = this.#nextItem();
      if (first < CHUNK) return first;
      if (!isBlank(this.#readChunk(first))) throw textBetween();
    }
  }

  /** The first octet of the next element or chunk; or ENDED. Comments are passed. */
  #nextItem(): number {
    for (;;) {
      if (this.#outerEnded) {
        this.#outerEnded = false;
        return ENDED;
      }
      const first = this.#input.octet();
      if (first < OTHER) return first;
      if (first === END_OF_LIST) return ENDED;
      if (first === END_OF_TWO) {
        this.#outerEnded = true;
        return ENDED;
      }
      if (first !== COMMENT) throw refusedItem(first);
      this.#readValue(this.#tables.otherStrings);
    }
  }

  /** The rest of an element whose start was read last. */
  #readContent(
    { namespace, localName, prefix }: ReadName,
    attributes: readonly XmlAttribute[],
    scope: NamespaceScope | undefined,
    depth: number,
  ): XmlElement {
    const children = this.#isEmpty ? NO_CHILDREN : this.#readChildren(scope, depth + 1);
    return new XmlElement(namespace, localName, children, attributes, prefix, scope);
  }

  #readElement(first: number, outer: NamespaceScope | undefined, depth: number): XmlElement {
    const name = this.#readStart(first, outer, depth);
    return this.#readContent(name, this.#attributes, this.#scope, depth);
  }

  #readChildren(scope: NamespaceScope | undefined, depth: number): readonly XmlNode[] {
    let children: XmlNode[] | undefined;
    for (let first = this.#nextItem(); first !== ENDED; first = this.#nextItem()) {
      const child = first < CHUNK ? this.#readElement(first, scope, depth) : this.#readChunk(first);
      if (children === undefined) {
        children = [child];
        continue;
      }
      // Chunks are pieces as the sender made them; the infoset knows only the text.
      const last = children.length - 1;
      const previous = children[last];
      if (typeof child === 'string' && typeof previous === 'string') children[last] = previous + child;
      else children.push(child);
    }
    return children ?? NO_CHILDREN;
  }

  /** C.3, up to the children. Fills #scope, #attributes and #isEmpty. */
  #readStart(first: number, outer: NamespaceScope | undefined, depth: number): ReadName {
    const { depthMax } = this.#limits;
    if (depth > depthMax) throw MessageRefusedError.limit('elements nested deeper', depthMax);
    this.#countElement();
    let nameStart = first & ~ATTRIBUTES;
    let scope = outer;
    let declarationCount = 0;
    if (nameStart === ELEMENT_WITH_NAMESPACES) {
      [scope, declarationCount] = this.#readDeclarations(outer);
      nameStart = this.#input.octet();
      // Two bits of padding.
      if (nameStart > 0x3f) throw invalidOctet();
    }
    const name = this.#readElementName(nameStart);
    checkScope(scope, name.prefix, name.namespace);
    this.#input.count(name.localName);
    this.#isEmpty = false;
    if ((first & ATTRIBUTES) === 0) this.#attributes = NO_ATTRIBUTES;
    else this.#readAttributes(scope, declarationCount);
    this.#scope = scope;
    return name;
  }

  #countElement(): void {
    const { elementsMax } = this.#limits;
    if (++this.#elementCount > elementsMax) throw MessageRefusedError.limit('more elements', elementsMax);
  }

  #readElementName(first: number): ReadName {
    const { elements } = this.#tables;
    if (first < LITERAL_ELEMENT_NAME) return elements.get(this.#input.indexOnThirdBit(first));
    return this.#tables.literalName(this.#input, first, elements);
  }

  /** C.3.4 and C.12. Answers the scope inside the element, and how many declarations it has. */
  #readDeclarations(outer: NamespaceScope | undefined): [NamespaceScope | undefined, number] {
    const input = this.#input;
    const { attributesMax, declarationsMax } = this.#limits;
    let scope = outer;
    let count = 0;
    for (let first = input.octet(); first !== END_OF_LIST; first = input.octet()) {
      if ((first & ~(HAS_PREFIX | HAS_NAMESPACE)) !== NAMESPACE_ATTRIBUTE) throw invalidOctet();
      if (count++ === attributesMax)
        throw MessageRefusedError.limit('an element with more attributes', attributesMax);
      const prefix = (first & HAS_PREFIX) === 0 ? '' : this.#tables.prefix(input);
      const namespace = (first & HAS_NAMESPACE) === 0 ? '' : this.#tables.namespace(input);
      input.count(namespace);
      for (let at = scope; at !== undefined && at !== outer; at = at.parent) {
        if (at.prefix === prefix)
          throw new XmlRefusal('declares a prefix twice on one element. Declare it once.');
      }
      scope = declare(scope, prefix, namespace, this.#limits);
    }
    if (scope !== undefined && scope.count > declarationsMax) {
      throw MessageRefusedError.limit('more namespace declarations in scope', declarationsMax);
    }
    return [scope, count];
  }

  /** C.4, and the end of the list, which may be the end of the element. */
  #readAttributes(scope: NamespaceScope | undefined, declarationCount: number): void {
    const input = this.#input;
    const { attributesMax } = this.#limits;
    const attributes: XmlAttribute[] = [];
    let first = input.octet();
    for (; first < CHUNK; first = input.octet()) {
      if (declarationCount + attributes.length === attributesMax) {
        throw MessageRefusedError.limit('an element with more attributes', attributesMax);
      }
      const { prefix, namespace, localName } = this.#readAttributeName(first);
      if (namespace !== '' || prefix !== '') checkAttributeScope(scope, prefix, namespace);
      else if (localName === 'xmlns')
        throw new XmlRefusal('has an attribute called xmlns. Declare namespaces.');
      input.count(localName);
      attributes.push({ namespace, localName, value: this.#readValue(this.#tables.values), prefix });
    }
    if (first !== END_OF_LIST && first !== END_OF_TWO) throw invalidOctet();
    if (attributes.length === 0) throw invalidOctet();
    this.#isEmpty = first === END_OF_TWO;
    checkUnique(attributes);
    this.#attributes = attributes;
  }

  #readAttributeName(first: number): ReadName {
    const { attributes } = this.#tables;
    if (first < LITERAL_ATTRIBUTE_NAME) return attributes.get(this.#input.indexOnSecondBit(first));
    if (first > (LITERAL_ATTRIBUTE_NAME | HAS_PREFIX | HAS_NAMESPACE)) throw invalidOctet();
    return this.#tables.literalName(this.#input, first, attributes);
  }

  /** C.14. */
  #readValue(table: ReadTable<string>): string {
    const input = this.#input;
    const first = input.octet();
    if (first < 0x80) {
      const text = input.valueText(first);
      if ((first & VALUE_ADDED) !== 0) table.add(text);
      return input.count(text);
    }
    return first === EMPTY_VALUE ? '' : input.count(table.get(input.indexOnSecondBit(first)));
  }

  /** C.15. */
  #readChunk(first: number): string {
    const input = this.#input;
    if ((first & CHUNK_INDEX) !== 0)
      return input.count(this.#tables.chunks.get(input.indexOnFourthBit(first)));
    const text = input.chunkText(first);
    if ((first & CHUNK_ADDED) !== 0) this.#tables.chunks.add(text);
    return input.count(text);
  }
}

/** The name must mean what it means by the declarations, or text that uses the prefix would mean something else. */
function checkScope(scope: NamespaceScope | undefined, prefix: string, namespace: string): void {
  const declared = scope === undefined ? resolveBuiltIn(prefix) : scope.resolve(prefix);
  if (declared === namespace) return;
  throw new XmlRefusal('uses a prefix or a namespace that it does not declare. Declare each.');
}

/** The default namespace is not for attributes. Namespaces in XML 1.0, section 6.2. */
function checkAttributeScope(scope: NamespaceScope | undefined, prefix: string, namespace: string): void {
  if (prefix === '') throw new XmlRefusal('has an attribute in a namespace without a prefix. Give it one.');
  checkScope(scope, prefix, namespace);
}

function refusedItem(first: number): MessageRefusedError {
  if (first === PROCESSING_INSTRUCTION) return processingInstruction();
  const kind = first & ~(HAS_PREFIX | HAS_NAMESPACE);
  if (kind === TYPE_DECLARATION) return typeDeclaration();
  if (kind === ENTITY_REFERENCE) {
    return MessageRefusedError.sender(
      'The message refers to an entity. SOAP 1.2 has none; write what it stands for.',
    );
  }
  return invalidOctet();
}

function notXml10(): MessageRefusedError {
  return MessageRefusedError.sender('The message declares itself something other than XML 1.0. Send that.');
}
