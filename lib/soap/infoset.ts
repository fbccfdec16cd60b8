// Elements, attributes and text: the part of the XML infoset that SOAP messages use (SOAP 1.2 part 1, section 5). It is
// cheap to build, because every message is made of it, and immutable by contract, because local delivery passes it by
// reference and encodings remember what they made of it. Knows nothing of bytes or of SOAP.
import { NamespaceScope, resolveBuiltIn } from './namespaces.js';

/** Text is a plain string; comments are not part of a message. */
export type XmlNode = XmlElement | string;

export interface XmlAttribute {
  /** '' for an attribute without a namespace. */
  readonly namespace: string;
  readonly localName: string;
  readonly value: string;
  /** The prefix to write if it is free; '' for whichever. */
  readonly prefix: string;
}

export const NO_ATTRIBUTES: readonly XmlAttribute[] = Object.freeze([]);
export const NO_CHILDREN: readonly XmlNode[] = Object.freeze([]);

/** A namespace and a name in it. */
export interface QName {
  readonly namespace: string;
  readonly localName: string;
}

/** An element. Never change one, nor its arrays, after it was built. */
export class XmlElement implements QName {
  /**
   * For encodings alone: what one made of this element, so that an element that is sent again is not written again.
   * Not part of the infoset.
   */
  encoded: unknown = undefined;

  constructor(
    /** '' for an element without a namespace. */
    readonly namespace: string,
    readonly localName: string,
    readonly children: readonly XmlNode[] = NO_CHILDREN,
    readonly attributes: readonly XmlAttribute[] = NO_ATTRIBUTES,
    /** The prefix to write if it is free; '' for whichever. */
    readonly prefix = '',
    /** The declarations in scope, kept because text and values may use their prefixes (a fault's code does). */
    readonly scope?: NamespaceScope,
  ) {}

  /** Whether this is its name. */
  is(namespace: string, localName: string): boolean {
    return this.localName === localName && this.namespace === namespace;
  }

  /** The text directly inside, joined; '' when there is none. */
  text(): string {
    const { children } = this;
    const first = children[0];
    if (children.length === 1 && typeof first === 'string') return first;
    let text = '';
    for (const child of children) if (typeof child === 'string') text += child;
    return text;
  }

  /** The first child element of this name. */
  child(namespace: string, localName: string): XmlElement | undefined {
    for (const child of this.children) {
      if (typeof child !== 'string' && child.is(namespace, localName)) return child;
    }
    return undefined;
  }

  /** The child elements, in order, without the text between them. */
  elements(): XmlElement[] {
    return this.children.filter((child): child is XmlElement => typeof child !== 'string');
  }

  /** The value of an attribute; without a namespace unless one is given. */
  attribute(localName: string, namespace = ''): string | undefined {
    for (const attribute of this.attributes) {
      if (attribute.localName === localName && attribute.namespace === namespace) return attribute.value;
    }
    return undefined;
  }

  /** The name that a `prefix:local` in this element's text or attribute values stands for; undefined if unbound. */
  resolveQName(text: string): QName | undefined {
    const name = text.trim();
    const colon = name.indexOf(':');
    const prefix = colon < 0 ? '' : name.slice(0, colon);
    const localName = name.slice(colon + 1);
    const namespace = this.scope === undefined ? resolveBuiltIn(prefix) : this.scope.resolve(prefix);
    if (namespace === undefined || localName === '' || colon === 0) return undefined;
    return { namespace, localName };
  }
}

/** What `element()` takes beside the name and the content. */
export interface ElementOptions {
  /** Attributes without a namespace, by name. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Attributes in a namespace. */
  readonly qualifiedAttributes?: readonly XmlAttribute[];
  /** The prefix to write if it is free. */
  readonly prefix?: string;
  /** Prefixes that text or attribute values use. */
  readonly namespaces?: Readonly<Record<string, string>>;
}

/** An element from content as it comes to hand: nothing, text, one element, or a list of both. */
export function element(
  namespace: string,
  localName: string,
  content: XmlNode | readonly XmlNode[] = NO_CHILDREN,
  options: ElementOptions = {},
): XmlElement {
  const children = typeof content === 'string' || content instanceof XmlElement ? [content] : content;
  let attributes = options.qualifiedAttributes ?? NO_ATTRIBUTES;
  if (options.attributes !== undefined) {
    const plain = Object.entries(options.attributes);
    attributes = [...plain.map(([name, value]) => attribute(name, value)), ...attributes];
  }
  const scope = options.namespaces === undefined ? undefined : NamespaceScope.of(options.namespaces);
  return new XmlElement(namespace, localName, children, attributes, options.prefix ?? '', scope);
}

/** An attribute, without a namespace unless one is given. */
export function attribute(localName: string, value: string, namespace = '', prefix = ''): XmlAttribute {
  return { namespace, localName, value, prefix };
}
