// References: what the header says of each buffer that travels beside the message, and the xop:Include elements by which
// the body points at them (XOP 1.0, section 2.1). A tag is opaque here: 32 bytes in the dress of base64url. Knows
// nothing of memory, grants or transports.
import { SplitplaneError } from '../errors.js';
import { MessageRefusedError } from './fault.js';
import { NO_CHILDREN, XmlElement, type XmlAttribute } from './infoset.js';
import { REFERENCES, XOP } from './namespaces.js';

/** The longest content id. */
export const CID_LENGTH_MAX = 128;
/** References in one message, unless the encoding's limits say otherwise. */
export const REFERENCES_MAX = 1024;

/** Characters of a tag. */
export const TAG_LENGTH = 43;
/** 43 characters carry 258 bits: the last two are zero, so that a tag has one spelling only. */
const TAG_PATTERN = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;
/** The part of RFC 2392 that needs no escaping, in a URL or in XML. */
const CID_PATTERN = /^[A-Za-z0-9._@-]{1,128}$/;
const LENGTH_PATTERN = /^(?:0|[1-9][0-9]{0,15})$/;
const CID_SCHEME = 'cid:';

/** What the receiver may do with the memory a tag stands for: one of these, never two. */
export const ACCESSES = ['read', 'write', 'atomic'] as const;
export type Access = (typeof ACCESSES)[number];

export interface Reference {
  /** Names the buffer inside this message. */
  readonly cid: string;
  /** The capability: 43 characters of base64url; undefined for a buffer whose bytes come in the frame itself. */
  readonly tag: string | undefined;
  readonly lengthBytes: number;
  readonly access: Access;
}

/** Elements of include() that are remembered; beyond this, all are forgotten. */
const INCLUDES_MAX = 64;
const includes = new Map<string, XmlElement>();

/** The element that stands in the body for the content of a buffer. The same one for the same cid, most of the time. */
export function include(cid: string): XmlElement {
  const known = includes.get(cid);
  if (known !== undefined) return known;
  checkCid(cid);
  const made = new XmlElement(XOP, 'Include', NO_CHILDREN, [plainAttribute('href', CID_SCHEME + cid)], 'xop');
  if (includes.size === INCLUDES_MAX) includes.clear();
  includes.set(cid, made);
  return made;
}

/** The content id that an xop:Include points at; undefined when its href is none. */
export function includedCid(element: XmlElement): string | undefined {
  const href = element.attribute('href');
  return href?.startsWith(CID_SCHEME) ? href.slice(CID_SCHEME.length) : undefined;
}

/** The header block of a message, from references that were checked. */
export function referencesBlock(references: readonly Reference[]): XmlElement {
  const children = references.map(({ cid, tag, lengthBytes, access }) => {
    const attributes = [plainAttribute('cid', cid)];
    if (tag !== undefined) attributes.push(plainAttribute('tag', tag));
    attributes.push(plainAttribute('length', String(lengthBytes)), plainAttribute('access', access));
    return new XmlElement(REFERENCES, 'Reference', NO_CHILDREN, attributes, 'sp');
  });
  return new XmlElement(REFERENCES, 'References', children, undefined, 'sp');
}

/** Reads the header block that a peer sent. */
export function readReferences(block: XmlElement): Reference[] {
  const references: Reference[] = [];
  for (const child of block.children) {
    if (typeof child === 'string') {
      if (child.trim() !== '') throw refused('it holds text');
    } else if (child.is(REFERENCES, 'Reference')) {
      references.push(readReference(child));
    } else {
      throw refused(`it holds an element called ${child.localName}`);
    }
  }
  const twice = firstDuplicate(references);
  if (twice !== undefined) throw refused(`the cid ${twice} occurs twice`);
  return references;
}

/** Refuses a body that points at a buffer the header does not list. */
export function checkIncludes(body: readonly XmlElement[], references: readonly Reference[]): void {
  let listed: Set<string> | undefined;
  const pending = [...body];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    if (at.localName === 'Include' && at.namespace === XOP) {
      listed ??= new Set(references.map((reference) => reference.cid));
      checkInclude(at, listed);
    }
    for (const child of at.children) if (typeof child !== 'string') pending.push(child);
  }
}

function checkInclude(element: XmlElement, listed: ReadonlySet<string>): void {
  const cid = includedCid(element);
  if (cid === undefined)
    throw MessageRefusedError.sender('An xop:Include has no href with a cid: URL. Give it one.');
  if (listed.has(cid)) return;
  throw MessageRefusedError.sender(
    'An xop:Include in the body points at a cid that the header does not list. List every buffer in sp:References.',
  );
}

function readReference(element: XmlElement): Reference {
  let cid: string | undefined;
  let tag: string | undefined;
  let length: string | undefined;
  let access: Access | undefined;
  for (const { localName, namespace, value } of element.attributes) {
    if (namespace !== '') continue;
    if (localName === 'cid') cid = value;
    else if (localName === 'tag') tag = value;
    else if (localName === 'length') length = value;
    else if (localName === 'access') access = ACCESSES.find((known) => known === value);
  }
  if (cid === undefined || !CID_PATTERN.test(cid)) throw refused('a cid is missing or malformed');
  if (tag !== undefined && !TAG_PATTERN.test(tag)) throw refused(`the tag of ${cid} is malformed`);
  const lengthBytes = length === undefined ? undefined : readLength(length);
  if (lengthBytes === undefined) throw refused(`the length of ${cid} is missing, malformed or too large`);
  if (access === undefined) throw refused(`the access of ${cid} is none of ${ACCESSES.join(', ')}`);
  return { cid, tag, lengthBytes, access };
}

/** A reference from its parts as text; undefined when one of them is malformed. */
export function parseReference(
  cid: string,
  tag: string | undefined,
  length: string,
  access: string,
): Reference | undefined {
  const lengthBytes = readLength(length);
  const known = ACCESSES.find((one) => one === access);
  if (!isCid(cid) || (tag !== undefined && !TAG_PATTERN.test(tag))) return undefined;
  return lengthBytes === undefined || known === undefined
    ? undefined
    : { cid, tag, lengthBytes, access: known };
}

function readLength(text: string): number | undefined {
  const length = LENGTH_PATTERN.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(length) ? length : undefined;
}

/** Throws INVALID_ARGUMENT for references that no peer would accept. */
export function checkReferences(references: readonly Reference[]): void {
  checkCids(references);
  for (const { cid, tag, lengthBytes, access } of references) {
    if (tag !== undefined && !TAG_PATTERN.test(tag))
      throw invalidReference(`the tag of ${cid} is not 32 bytes in base64url`);
    if (!Number.isSafeInteger(lengthBytes) || lengthBytes < 0) {
      throw invalidReference(`the length of ${cid} is not a safe integer of at least 0`);
    }
    if (!ACCESSES.includes(access)) {
      throw invalidReference(`the access of ${cid} is none of ${ACCESSES.join(', ')}`);
    }
  }
}

/** Throws INVALID_ARGUMENT unless each has a name, and one of its own. */
export function checkCids(references: readonly Reference[]): void {
  for (const { cid } of references) checkCid(cid);
  const twice = firstDuplicate(references);
  if (twice !== undefined) throw invalidReference(`the cid ${twice} occurs twice`);
}

let lastValidCid = '';

/** Whether a buffer can be called this in a message. */
export function isCid(text: string): boolean {
  // Messages of one kind call their buffers the same.
  if (text === lastValidCid) return true;
  if (!CID_PATTERN.test(text)) return false;
  lastValidCid = text;
  return true;
}

function checkCid(cid: string): void {
  if (isCid(cid)) return;
  throw invalidReference(`a cid has 1 to ${CID_LENGTH_MAX} letters, digits or ". _ @ -"`);
}

/** Whether two references have one name. */
export function hasDuplicateCid(references: readonly Reference[]): boolean {
  return firstDuplicate(references) !== undefined;
}

function firstDuplicate(references: readonly Reference[]): string | undefined {
  if (references.length < 2) return undefined;
  const seen = new Set<string>();
  for (const { cid } of references) {
    if (seen.has(cid)) return cid;
    seen.add(cid);
  }
  return undefined;
}

function plainAttribute(localName: string, value: string): XmlAttribute {
  return { namespace: '', localName, value, prefix: '' };
}

function refused(what: string): MessageRefusedError {
  return MessageRefusedError.sender(`The sp:References block is invalid: ${what}. Correct the sender.`);
}

function invalidReference(what: string): SplitplaneError {
  return new SplitplaneError('INVALID_ARGUMENT', `A reference is invalid: ${what}.`);
}
