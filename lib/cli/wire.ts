// The words of the service that `splitplane serve` offers: its actions, and how paths, counts and flags stand in a body.
// Bytes of files are never in a body: a message refers to them. Both ends use this file, so that neither can know another
// spelling.
import { Envelope } from '../soap/envelope.js';
import { MessageRefusedError } from '../soap/fault.js';
import { element, type XmlElement, type XmlNode } from '../soap/infoset.js';

/** The namespace of the bodies, the beginning of every action, and wsa:To of every request. */
export const SERVICE = 'urn:splitplane:serve:1';
/** The name by which a body points at a file's bytes. */
export const FILE_CID = 'file';

/** What can be asked. A body holds one element of the same name. */
export const ACTIONS = [
  'Ping', // Answer with the buffer that came, if any.
  'Echo', // The same, as often as it can be: it is not logged.
  'Stat', // What is at a path.
  'List', // A page of a directory.
  'Get', // A reference to a file.
  'Digest', // The SHA-256 of the beginning of a file.
  'Partial', // How much of a file is here from a transfer that broke off, and its SHA-256.
  'Put', // Read the file that is referred to, and store it.
  'PutDigest', // One way: the SHA-256 of the file of a Put that is under way.
  'MakeDirectory', // Make a directory, and those above it.
  'Share', // References to memory for one-sided access.
  'Discard', // One way: a message to count.
  'Diagnose', // What doctor finds on the serving host.
  'Usage', // Processor time, copies, event-loop delay of the serving process.
] as const;
export type Action = (typeof ACTIONS)[number];

export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** wsa:Action of a request. */
export function actionUri(action: Action): string {
  return `${SERVICE}/${action}`;
}

/** The action that a wsa:Action stands for; undefined for one of somebody else's. */
export function actionOf(uri: string): Action | undefined {
  return ACTIONS.find((action) => uri === actionUri(action));
}

/** An element of the service; attributes that are undefined are left out. */
export function item(
  name: string,
  attributes: Attributes = {},
  content: readonly XmlNode[] = [],
): XmlElement {
  const written: Record<string, string> = {};
  for (const [key, value] of Object.entries(attributes))
    if (value !== undefined) written[key] = String(value);
  return element(SERVICE, name, content, { attributes: written, prefix: 'f' });
}

export function request(
  action: Action,
  attributes: Attributes = {},
  content: readonly XmlNode[] = [],
): Envelope {
  return Envelope.of({ action: actionUri(action), to: SERVICE, body: item(action, attributes, content) });
}

/** What a peer put into a body, checked as it is read: everything else is a fault that names what is wrong. */
export class Fields {
  readonly #element: XmlElement;

  constructor(from: XmlElement | undefined, name: string) {
    if (from?.is(SERVICE, name) !== true)
      throw MessageRefusedError.sender(`The body has no {${SERVICE}}${name}. Send one.`);
    this.#element = from;
  }

  /** The element of this name in a body. */
  static of(envelope: Envelope, name: string): Fields {
    return new Fields(envelope.body[0], name);
  }

  items(name: string): Fields[] {
    return this.#element
      .elements()
      .filter((child) => child.is(SERVICE, name))
      .map((child) => new Fields(child, name));
  }

  text(name: string): string {
    const value = this.#element.attribute(name);
    if (value === undefined) throw this.#refuse(name, 'missing');
    return value;
  }

  /** One of `values`. */
  choice<T extends string>(name: string, values: readonly T[]): T {
    const text = this.text(name);
    const value = values.find((known) => known === text);
    if (value === undefined) throw this.#refuse(name, `none of ${values.join(', ')}`);
    return value;
  }

  /** A path, as a list of names would be written in a URI. */
  path(name = 'path'): string {
    return decodePath(this.text(name));
  }

  /** A whole number from 0 to `max`. */
  count(name: string, max = Number.MAX_SAFE_INTEGER): number {
    const text = this.text(name);
    const value = /^(?:0|[1-9]\d{0,15})$/.test(text) ? Number(text) : NaN;
    if (!Number.isSafeInteger(value) || value > max)
      throw this.#refuse(name, `no whole number of at most ${max}`);
    return value;
  }

  /** Any finite number of at least 0. */
  measure(name: string): number {
    const value = Number(this.text(name));
    if (!Number.isFinite(value) || value < 0) throw this.#refuse(name, 'no number of at least 0');
    return value;
  }

  /** True only when it says so. */
  flag(name: string): boolean {
    return this.#element.attribute(name) === 'true';
  }

  sha256(name = 'sha256'): string {
    const text = this.text(name);
    if (!/^[0-9a-f]{64}$/.test(text)) throw this.#refuse(name, 'no SHA-256 in hex');
    return text;
  }

  has(name: string): boolean {
    return this.#element.attribute(name) !== undefined;
  }

  #refuse(name: string, what: string): MessageRefusedError {
    return MessageRefusedError.sender(
      `The attribute ${name} of ${this.#element.localName} is ${what}. Correct the sender.`,
    );
  }
}

/** A path as it stands in XML, which cannot hold every character that a file name can. */
export function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

export function decodePath(text: string): string {
  try {
    return text.split('/').map(decodeURIComponent).join('/');
  } catch {
    throw MessageRefusedError.sender('A path is not percent-encoded UTF-8. Correct the sender.');
  }
}
