// What two elements must agree in to be the same infoset: names, attributes in any order, children with adjacent text
// joined. Prefixes are spelling, not infoset. For comparing in tests.
import type { XmlElement } from '../../lib/soap/infoset.js';

export interface PlainInfoset {
  readonly name: string;
  readonly attributes: Record<string, string>;
  readonly children: (PlainInfoset | string)[];
}

export function infoset(element: XmlElement): PlainInfoset {
  const children: (PlainInfoset | string)[] = [];
  for (const child of element.children) {
    const last = children.at(-1);
    if (typeof child !== 'string') children.push(infoset(child));
    else if (typeof last === 'string') children[children.length - 1] = last + child;
    else if (child !== '') children.push(child);
  }
  const attributes: [string, string][] = element.attributes.map((attribute) => [
    `{${attribute.namespace}}${attribute.localName}`,
    attribute.value,
  ]);
  return {
    name: `{${element.namespace}}${element.localName}`,
    attributes: Object.fromEntries(attributes.sort(([a], [b]) => (a < b ? -1 : 1))),
    children,
  };
}
