// Elements as people and programs read them: indented text, in colours on a terminal, and JSON. Knows XML, and no service.
import { styleText } from 'node:util';
import { xmlSerializer } from '../../serializer/xml.js';
import type { Envelope } from '../../soap/envelope.js';
import { XmlElement } from '../../soap/infoset.js';
import { XOP } from '../../soap/namespaces.js';
import { includedCid } from '../../soap/references.js';
import { COMMANDS, print } from '../terminal.js';

const TAG = /<(\/?)([^\s/<>]+)((?:\s+[^\s=<>]+="[^"]*")*)(\s*\/?)>/g;
const ATTRIBUTE = /(\s+)([^\s=]+)=("[^"]*")/g;

/** Prints an element, indented. */
export function printElement(element: XmlElement): void {
  printXml(xmlSerializer.prettyElement(withoutScope(element)));
}

/** Prints a whole message, indented. */
export function printEnvelope(envelope: Envelope): void {
  printXml(xmlSerializer.pretty(envelope));
}

function printXml(text: string): void {
  // XML allows these, and a terminal takes them for commands.
  const safe = text.trimEnd().replace(COMMANDS, (c) => `&#x${c.charCodeAt(0).toString(16)};`);
  print(process.stdout.isTTY && process.stdout.hasColors() ? coloured(safe) : safe);
}

/** XML text with the escapes of a terminal. */
export function coloured(text: string): string {
  return text.replace(TAG, (_, close: string, name: string, attributes: string, end: string) => {
    const inside = attributes.replace(
      ATTRIBUTE,
      (_all, space: string, key: string, value: string) =>
        `${space}${colour('yellow', key)}=${colour('green', value)}`,
    );
    return `${colour('dim', `<${close}`)}${colour('cyan', name)}${inside}${colour('dim', `${end}>`)}`;
  });
}

function colour(name: 'yellow' | 'green' | 'cyan' | 'dim', text: string): string {
  return styleText(name, text, { validateStream: false });
}

/** The declarations that a message has around its body are of no interest where only the body is shown. */
function withoutScope({ namespace, localName, children, attributes, prefix }: XmlElement): XmlElement {
  const inside = children.map((child) => (typeof child === 'string' ? child : withoutScope(child)));
  return new XmlElement(namespace, localName, inside, attributes, prefix);
}

/** What an element holds, as JSON has it. */
export type JsonContent = string | { [name: string]: JsonContent | JsonContent[] };

/**
 * Text where an element holds nothing else; { "buffer": CID } where it stands for a buffer; otherwise an object: attributes as
 * @NAME, elements as NAME (a list where several have one name), text beside elements as #text. Names in another namespace
 * than the element around them are written {NAMESPACE}NAME.
 */
export function contentOf(element: XmlElement): JsonContent {
  const elements = element.elements();
  const [only] = elements;
  if (only?.is(XOP, 'Include') === true && elements.length === 1) return { buffer: includedCid(only) ?? '' };
  const text = element.text();
  if (elements.length === 0 && element.attributes.length === 0) return text;
  // Without a prototype: an element may be called __proto__.
  const content = Object.create(null) as Record<string, JsonContent | JsonContent[]>;
  for (const { namespace, localName, value } of element.attributes)
    content[`@${nameOf(namespace, localName, '')}`] = value;
  for (const child of elements) {
    const name = nameOf(child.namespace, child.localName, element.namespace);
    const inside = contentOf(child);
    const before = content[name];
    if (before === undefined) content[name] = inside;
    else if (Array.isArray(before)) before.push(inside);
    else content[name] = [before, inside];
  }
  if (text.trim() !== '') content['#text'] = text;
  return content;
}

function nameOf(namespace: string, localName: string, around: string): string {
  return namespace === around ? localName : `{${namespace}}${localName}`;
}
