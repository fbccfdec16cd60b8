// Which prefixes an element is written with, and which declarations that needs: the element's own names, those of its
// attributes, and every prefix that its original document had in scope, because text may use one. Namespaces in XML 1.0.
// Decides; writes nothing.
import { SplitplaneError } from '../errors.js';
import type { XmlElement } from '../soap/infoset.js';
import { NamespaceScope, resolveBuiltIn, XML, XMLNS } from '../soap/namespaces.js';
import { isNcName } from './xml-text.js';

/** A place in a document that is being written. */
export interface Place {
  /** The declarations that are written. */
  readonly declared: NamespaceScope | undefined;
  /** A scope, of the document an element came from, that `declared` reproduces entirely. */
  readonly covered: NamespaceScope | undefined;
}

/** One declaration to write. */
export interface Declaration {
  readonly prefix: string;
  readonly namespace: string;
}

/** The declarations of one element, as they are found out. */
export class Declarations {
  #added: Declaration[] = [];
  #declared: NamespaceScope | undefined;
  #covered: NamespaceScope | undefined;
  readonly #scope: NamespaceScope | undefined;

  constructor(outer: Place, scope: NamespaceScope | undefined) {
    this.#declared = outer.declared;
    this.#covered = outer.covered;
    this.#scope = scope;
    if (scope !== undefined && scope !== outer.covered) this.#reproduce(scope, outer.covered);
  }

  get added(): readonly Declaration[] {
    return this.#added;
  }

  /** Where the element's children are. */
  get place(): Place {
    return { declared: this.#declared, covered: this.#covered };
  }

  /** The prefix for the element's name. To be asked first: it may shadow a prefix from outside. */
  forElement(namespace: string, hint: string): string {
    if (namespace === '') {
      if (this.#resolve('') !== '') this.#declare('', '');
      return '';
    }
    if (this.#resolve(hint) === namespace) return hint;
    const existing = this.#existing(namespace);
    if (existing !== undefined) return existing;
    // A prefix that its own text may use in another meaning is not to be shadowed.
    const isTaken =
      isReserved(hint) || (this.#scope !== undefined && this.#scope.resolve(hint) !== undefined);
    return this.#declare(isTaken ? this.#unusedPrefix() : hint, namespace);
  }

  /** The prefix for the name of an attribute in a namespace. */
  forAttribute(namespace: string, hint: string): string {
    if (hint !== '' && this.#resolve(hint) === namespace) return hint;
    const existing = this.#existing(namespace);
    if (existing !== undefined) return existing;
    const free = hint !== '' && !isReserved(hint) && this.#resolve(hint) === undefined;
    return this.#declare(free ? hint : this.#unusedPrefix(), namespace);
  }

  /** Declares what is visible in `scope`, except for what stands in its outer part `covered`. */
  #reproduce(scope: NamespaceScope, covered: NamespaceScope | undefined): void {
    const seen = new Set<string>();
    let at: NamespaceScope | undefined = scope;
    for (; at !== undefined && at !== covered; at = at.parent) {
      if (seen.has(at.prefix)) continue;
      seen.add(at.prefix);
      if (this.#resolve(at.prefix) !== at.namespace) this.#declare(at.prefix, at.namespace);
    }
    this.#covered = scope;
  }

  #resolve(prefix: string): string | undefined {
    return this.#declared === undefined ? resolveBuiltIn(prefix) : this.#declared.resolve(prefix);
  }

  #existing(namespace: string): string | undefined {
    if (namespace === XML) return 'xml';
    if (namespace === XMLNS) throw invalid(`nothing may be called by a name in ${XMLNS}`);
    return this.#declared?.prefixFor(namespace);
  }

  #declare(prefix: string, namespace: string): string {
    if (isReserved(prefix) || namespace === XML || namespace === XMLNS) {
      throw invalid('the prefixes xml and xmlns, and their namespaces, cannot be declared');
    }
    if (prefix !== '' && namespace === '') throw invalid(`the prefix ${prefix} is declared for no namespace`);
    if (prefix !== '' && !isNcName(prefix))
      throw invalid(`the prefix ${JSON.stringify(prefix)} is not a name`);
    this.#added = this.#added.filter((declaration) => declaration.prefix !== prefix);
    this.#added.push({ prefix, namespace });
    this.#declared = new NamespaceScope(this.#declared, prefix, namespace);
    // What was declared may shadow a prefix of the original document.
    this.#covered = undefined;
    return prefix;
  }

  #unusedPrefix(): string {
    for (let n = 1; ; n++) if (this.#resolve(`n${n}`) === undefined) return `n${n}`;
  }
}

/** Whether an element can be written at a place with the prefix it asks for and without any declaration. */
export function isDeclared(element: XmlElement, place: Place): boolean {
  const { scope, prefix, attributes } = element;
  if (scope !== undefined && scope !== place.covered) return false;
  if (place.declared?.resolve(prefix) !== element.namespace) return false;
  for (const attribute of attributes) if (attribute.namespace !== '') return false;
  return true;
}

function isReserved(prefix: string): boolean {
  return prefix === 'xml' || prefix === 'xmlns';
}

function invalid(what: string): SplitplaneError {
  return new SplitplaneError('INVALID_ARGUMENT', `The message cannot be written as XML: ${what}.`);
}
