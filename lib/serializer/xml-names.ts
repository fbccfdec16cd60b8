// Names and namespaces of a tag that was read: splits names at the colon, resolves prefixes, tells declarations from
// attributes, by the letter of Namespaces in XML 1.0. Says what is wrong; whose fault that is, its caller knows.
import { NO_ATTRIBUTES, type XmlAttribute } from '../soap/infoset.js';
import {
  DSSP,
  NamespaceScope,
  REFERENCES,
  resolveBuiltIn,
  SOAP,
  WSA,
  XML,
  XMLNS,
  XOP,
} from '../soap/namespaces.js';
import type { XmlLimits } from './xml-limits.js';
import { isNcName } from './xml-text.js';

/** A name as it stands in a tag. */
export interface SplitName {
  readonly prefix: string;
  readonly localName: string;
}

/** What is wrong with a document: a sentence without its subject, which is for whoever reads the document to name. */
export class XmlRefusal extends Error {
  constructor(
    predicate: string,
    /** The limit that was exceeded; the predicate then says of what, without the number. */
    readonly limit?: number,
  ) {
    super(predicate);
  }
}

/** Names that are remembered; beyond this, all are forgotten and remembered anew. */
const NAMES_MAX = 1024;
/** A name longer than this is not worth remembering. */
const NAME_LENGTH_KEPT_MAX = 64;
const names = new Map<string, SplitName>();

const NAMESPACE_LENGTH_KEPT_MAX = 256;
const namespaces = new Map<string, string>();
const ncNames = new Map<string, string>();

/** Names are compared often: with these, comparing is comparing two pointers. */
const KNOWN_NAMESPACES = new Map([SOAP, WSA, REFERENCES, XOP, DSSP].map((name) => [name, name]));

/** Splits `prefix:local`, both of which must be names without a colon. */
export function splitName(name: string): SplitName {
  return names.get(name) ?? splitNewName(name);
}

function splitNewName(name: string): SplitName {
  const colon = name.indexOf(':');
  // Copied out of the text they stand in, because a slice would keep all of that text alive.
  const prefix = colon < 0 ? '' : copied(name.slice(0, colon));
  const localName = copied(name.slice(colon + 1));
  if (!isNcName(localName) || (colon >= 0 && !isNcName(prefix)) || prefix === 'xmlns') {
    throw malformedName();
  }
  const split = { prefix, localName };
  if (name.length <= NAME_LENGTH_KEPT_MAX) {
    if (names.size === NAMES_MAX) names.clear();
    names.set(copied(name), split);
  }
  return split;
}

/** A name that stands by itself, copied out of the message it came in. */
export function keptNcName(text: string): string {
  const known = ncNames.get(text);
  if (known !== undefined) return known;
  if (!isNcName(text)) throw malformedName();
  const copy = copied(text);
  if (text.length <= NAME_LENGTH_KEPT_MAX) {
    if (ncNames.size === NAMES_MAX) ncNames.clear();
    ncNames.set(copy, copy);
  }
  return copy;
}

/** A namespace name that comes often, or a copy of it, which does not keep the message it came in alive. */
export function keptNamespace(text: string): string {
  const known = KNOWN_NAMESPACES.get(text) ?? namespaces.get(text);
  if (known !== undefined) return known;
  const copy = copied(text);
  if (text.length <= NAMESPACE_LENGTH_KEPT_MAX) {
    if (namespaces.size === NAMES_MAX) namespaces.clear();
    namespaces.set(copy, copy);
  }
  return copy;
}

/** The namespace of a prefix in scope. */
export function resolvePrefix(scope: NamespaceScope | undefined, prefix: string): string {
  const namespace = scope === undefined ? resolveBuiltIn(prefix) : scope.resolve(prefix);
  if (namespace === undefined) {
    throw new XmlRefusal('uses a prefix that it does not declare. Declare each prefix.');
  }
  return namespace;
}

/** The scope inside a tag with these attributes, of which the declarations are taken. */
export function readDeclarations(
  outer: NamespaceScope | undefined,
  attributeNames: readonly string[],
  values: readonly string[],
  limits: Pick<XmlLimits, 'declarationsMax' | 'namespaceLengthMax'>,
): NamespaceScope | undefined {
  let scope = outer;
  for (let index = 0; index < attributeNames.length; index++) {
    const name = attributeNames[index] ?? '';
    if (!isDeclaration(name)) continue;
    const value = values[index] ?? '';
    scope = declare(scope, name === 'xmlns' ? '' : splitDeclaration(name), value, limits);
  }
  if (scope !== undefined && scope.count > limits.declarationsMax) {
    throw new XmlRefusal('more namespace declarations in scope', limits.declarationsMax);
  }
  return scope;
}

/** The scope with one declaration more. */
export function declare(
  scope: NamespaceScope | undefined,
  prefix: string,
  namespace: string,
  { namespaceLengthMax }: Pick<XmlLimits, 'namespaceLengthMax'>,
): NamespaceScope | undefined {
  if (namespace.length > namespaceLengthMax)
    throw new XmlRefusal('a longer namespace name', namespaceLengthMax);
  checkDeclaration(prefix, namespace);
  // Declaring xml for what it stands for anyway is allowed, and means nothing.
  return prefix === 'xml'
    ? scope
    : new NamespaceScope(scope, prefix, KNOWN_NAMESPACES.get(namespace) ?? namespace);
}

/** The attributes of a tag that are not declarations, with their namespaces. */
export function readAttributes(
  scope: NamespaceScope | undefined,
  attributeNames: readonly string[],
  values: readonly string[],
): readonly XmlAttribute[] {
  let attributes: XmlAttribute[] | undefined;
  let isQualified = false;
  for (let index = 0; index < attributeNames.length; index++) {
    const name = attributeNames[index] ?? '';
    if (isDeclaration(name)) continue;
    const { prefix, localName } = splitName(name);
    const namespace = prefix === '' ? '' : resolvePrefix(scope, prefix);
    if (prefix !== '') isQualified = true;
    const attribute = { namespace, localName, value: values[index] ?? '', prefix };
    if (attributes === undefined) attributes = [attribute];
    else attributes.push(attribute);
  }
  if (attributes === undefined) return NO_ATTRIBUTES;
  // The parser compares the names as they stand; two prefixes may stand for one namespace.
  if (isQualified) checkUnique(attributes);
  return attributes;
}

/** Whether an attribute is a declaration, by its name. */
export function isDeclaration(name: string): boolean {
  return name.startsWith('xmlns') && (name.length === 5 || name.charCodeAt(5) === 0x3a);
}

function splitDeclaration(name: string): string {
  const prefix = copied(name.slice('xmlns:'.length));
  if (!isNcName(prefix)) throw new XmlRefusal('declares a malformed prefix. Correct it.');
  return prefix;
}

/** Namespaces in XML 1.0, section 3 and its constraints. */
function checkDeclaration(prefix: string, namespace: string): void {
  const allowed =
    prefix === 'xml'
      ? namespace === XML
      : prefix !== 'xmlns' && namespace !== XML && namespace !== XMLNS && (namespace !== '' || prefix === '');
  if (!allowed) throw new XmlRefusal('has a forbidden namespace declaration. Leave it out.');
}

/** No two attributes of an element have the same name. Puts no names together: that would copy a long namespace for each. */
export function checkUnique(attributes: readonly XmlAttribute[]): void {
  if (attributes.length < 2) return;
  if (new Set(attributes.map(({ localName }) => localName)).size === attributes.length) return;
  const namespaces = new Map<string, Set<string>>();
  for (const { localName, namespace } of attributes) {
    const seen = namespaces.get(localName);
    if (seen === undefined) namespaces.set(localName, new Set([namespace]));
    else if (!seen.has(namespace)) seen.add(namespace);
    else throw new XmlRefusal('has two attributes of one name on one element. Send one.');
  }
}

function malformedName(): XmlRefusal {
  return new XmlRefusal('has a malformed name. Names have one colon at most, not at an end.');
}

function copied(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8');
}
