// Fast Infoset documents put together octet by octet, right or wrong, with no code of the serializer: for trying what peers may
// send. Octets are the characters of a string.
import { SOAP, WSA } from '../../lib/soap/namespaces.js';

export const END = '\xf0';
export const MAGIC = '\xe0\x00\x00\x01';

export function octets(...values: readonly number[]): string {
  return String.fromCharCode(...values);
}

/** X.891, C.22: length and octets of UTF-8. */
export function string(text: string): string {
  const image = Buffer.from(text).toString('latin1');
  const { length } = image;
  const beyond = length - 321;
  const large = octets(0x60, (beyond >> 24) & 255, (beyond >> 16) & 255, (beyond >> 8) & 255, beyond & 255);
  return (length <= 64 ? octets(length - 1) : length <= 320 ? octets(0x40, length - 65) : large) + image;
}

/** A chunk of text, C.15. */
export function chunk(text: string): string {
  const image = Buffer.from(text).toString('latin1');
  const { length } = image;
  const beyond = length - 259;
  const large = octets(0x83, (beyond >> 24) & 255, (beyond >> 16) & 255, (beyond >> 8) & 255, beyond & 255);
  const start = length <= 2 ? octets(0x80 + length - 1) : length <= 258 ? octets(0x82, length - 3) : large;
  return start + image;
}

/** The start of an element that has no attributes, its name spelled out. */
export function start(localName: string, namespace = '', prefix = ''): string {
  return nameOf(0x3c, localName, namespace, prefix);
}

/** An element of no namespace. */
export function element(localName: string, content = ''): string {
  return start(localName) + content + END;
}

/** An element of no namespace with attributes. */
export function elementWith(localName: string, attributes: string, content = ''): string {
  return nameOf(0x7c, localName) + attributes + END + content + END;
}

/** An attribute with a value of 1 to 8 octets. */
export function attribute(localName: string, value = 'v', namespace = '', prefix = ''): string {
  return nameOf(0x78, localName, namespace, prefix) + octets(value.length - 1) + value;
}

/** The start of an element with these declarations. */
export function declaring(declarations: Readonly<Record<string, string>>, startOfElement: string): string {
  const each = Object.entries(declarations).map(
    ([prefix, namespace]) =>
      octets(0xcc + (prefix === '' ? 0 : 2) + (namespace === '' ? 0 : 1)) +
      (prefix === '' ? '' : string(prefix)) +
      (namespace === '' ? '' : string(namespace)),
  );
  return `\x38${each.join('')}${END}${startOfElement}`;
}

/** An element with declarations and attributes. */
export function declaringWith(
  declarations: Readonly<Record<string, string>>,
  startOfElement: string,
  attributes: string,
): string {
  return `\x78${declaring(declarations, startOfElement).slice(1)}${attributes}${END}${END}`;
}

export const ACTION = `${start('Action', WSA, 'a')}${chunk('urn:act')}${END}`;
export const HEADER = start('Header', SOAP, 'e');
export const BODY = start('Body', SOAP, 'e');

/** A document with the header and body given, and no vocabulary. */
export function soap(header: string, body = '', before = '\x00'): Buffer {
  const envelope = declaring({ e: SOAP, a: WSA }, start('Envelope', SOAP, 'e'));
  return bytes(`${MAGIC}${before}${envelope}${HEADER}${header}${END}${BODY}${body}${END}${END}${END}`);
}

export function withBody(body: string): Buffer {
  return soap(ACTION, body);
}

export function bytes(document: string): Buffer {
  return Buffer.from(document, 'latin1');
}

function nameOf(first: number, localName: string, namespace = '', prefix = ''): string {
  const has = (prefix === '' ? 0 : 2) + (namespace === '' ? 0 : 1);
  const parts = [prefix, namespace, localName].filter((part) => part !== '').map(string);
  return octets(first + has) + parts.join('');
}
