// The namespace names this project speaks, the prefixes it writes them with, and the chain of declarations in scope at a
// place in a document. Knows nothing of elements or bytes.

/** SOAP 1.2 part 1, section 5.1. */
export const SOAP = 'http://www.w3.org/2003/05/soap-envelope';
/** SOAP 1.1, known only so that it can be refused by name. */
export const SOAP_11 = 'http://schemas.xmlsoap.org/soap/envelope/';
/** WS-Addressing 1.0 core, section 1.2. */
export const WSA = 'http://www.w3.org/2005/08/addressing';
/** XML-binary Optimized Packaging, section 2.1. */
export const XOP = 'http://www.w3.org/2004/08/xop/include';
/** The header block that holds the references of a message. */
export const REFERENCES = 'urn:splitplane:references:1';
/** The header block by which a runtime tells the threads and processes of its services whom a message is from. */
export const ORIGIN = 'urn:splitplane:origin:1';
/** DSSP 1.0: verbs and fault subcodes. */
export const DSSP = 'http://schemas.microsoft.com/xw/2004/10/dssp.html';
/** Bound to the prefix `xml` everywhere. Namespaces in XML 1.0, section 3. */
export const XML = 'http://www.w3.org/XML/1998/namespace';
/** Bound to the prefix `xmlns` everywhere. Namespaces in XML 1.0, section 3. */
export const XMLNS = 'http://www.w3.org/2000/xmlns/';

/**
 * One namespace declaration and those around it: an immutable chain, shared by all elements in its scope. The empty
 * prefix is the default namespace, the empty name undeclares it.
 */
export class NamespaceScope {
  /** The number of declarations in the chain, which is what looking up a prefix may cost. */
  readonly count: number;

  constructor(
    readonly parent: NamespaceScope | undefined,
    readonly prefix: string,
    readonly namespace: string,
  ) {
    this.count = parent === undefined ? 1 : parent.count + 1;
  }

  /** The namespace a prefix stands for here; '' for an unbound default namespace, undefined for an unbound prefix. */
  resolve(prefix: string): string | undefined {
    for (let at: NamespaceScope | undefined = this; at !== undefined; at = at.parent) {
      if (at.prefix === prefix) return at.namespace;
    }
    return resolveBuiltIn(prefix);
  }

  /** The innermost non-empty prefix that stands for this namespace here. */
  prefixFor(namespace: string): string | undefined {
    for (let at: NamespaceScope | undefined = this; at !== undefined; at = at.parent) {
      if (at.namespace === namespace && at.prefix !== '' && this.resolve(at.prefix) === namespace)
        return at.prefix;
    }
    return undefined;
  }

  /** A scope with all of these declarations inside an optional outer one. */
  static of(
    declarations: Readonly<Record<string, string>>,
    parent?: NamespaceScope,
  ): NamespaceScope | undefined {
    let scope = parent;
    for (const [prefix, namespace] of Object.entries(declarations)) {
      scope = new NamespaceScope(scope, prefix, namespace);
    }
    return scope;
  }
}

/** What a prefix stands for where nothing is declared. */
export function resolveBuiltIn(prefix: string): string | undefined {
  if (prefix === '') return '';
  if (prefix === 'xml') return XML;
  return undefined;
}
