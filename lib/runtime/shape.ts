// Shapes: what the body of a message may hold, as a value that both the compiler and a check at run time know. A shape writes
// typed values as infoset and reads infoset strictly: what it does not know, it refuses. Knows nothing of verbs or services.
import type { RegisteredBuffer } from '../dataplane/memory.js';
import { SplitplaneError } from '../errors.js';
import { isNcName, isText } from '../serializer/xml-text.js';
import { XmlElement, type XmlNode } from '../soap/infoset.js';
import { include, includedCid } from '../soap/references.js';
import { XOP } from '../soap/namespaces.js';
import { Lent, type Attached, type Giving } from './attached.js';
import { Fault } from './fault.js';

/** Where the buffers of a value go while it is written. */
export interface Sink {
  /** Takes a buffer and answers the content id that the body points at. */
  attach(name: string, giving: Giving): string;
}

/** Where the buffers of a value come from while it is read. */
export type Source = (cid: string) => Attached | undefined;

type Presence = 'one' | 'optional' | 'list';

/** One field of a record: a value that is sent as S and received as R. */
export interface Field<S, R = S, P extends Presence = Presence> {
  readonly presence: P;
  /** What stands inside the element. Throws INVALID_ARGUMENT for a value of another type. */
  write(value: S, place: Place, sink: Sink): readonly XmlNode[];
  /** Throws Fault MessageNotSupported. */
  read(element: XmlElement, place: Place, source: Source): R;
}

/** Where in a body something stands, for messages to people, and the namespace that its elements are in. */
export interface Place {
  readonly namespace: string;
  readonly name: string;
  readonly outer: Place | undefined;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the one type that every field has
export type AnyField = Field<any, any>;
export type Fields = Readonly<Record<string, AnyField>>;

type OptionalNames<F extends Fields> = {
  [K in keyof F]: F[K]['presence'] extends 'optional' ? K : never;
}[keyof F];
type SentAs<T> = T extends Field<infer S, unknown> ? S : never;
type ReceivedAs<T> = T extends Field<never, infer R> ? R : never;
type Flat<T> = { [K in keyof T]: T[K] };

/** The value of a record as its sender writes it. */
export type SentRecord<F extends Fields> = Flat<
  { readonly [K in Exclude<keyof F, OptionalNames<F>>]: SentAs<F[K]> } & {
    readonly [K in OptionalNames<F>]?: SentAs<F[K]> | undefined;
  }
>;
/** The value of a record as its receiver reads it. */
export type ReceivedRecord<F extends Fields> = Flat<
  { readonly [K in Exclude<keyof F, OptionalNames<F>>]: ReceivedAs<F[K]> } & {
    readonly [K in OptionalNames<F>]?: ReceivedAs<F[K]> | undefined;
  }
>;

/** Items of one list, and fields of one record. */
export const LIST_ITEMS_MAX = 100_000;

function scalar<T>(
  what: string,
  format: (value: T) => string | undefined,
  parse: (text: string) => T | undefined,
): Field<T, T, 'one'> {
  return {
    presence: 'one',
    write(value, place) {
      const text = format(value);
      if (text === undefined) throw badValue(place, what, value);
      return text === '' ? [] : [text];
    },
    read(element, place) {
      const value = element.elements().length > 0 ? undefined : parse(element.text());
      if (value === undefined) throw badElement(place, `is not ${what}`);
      return value;
    },
  };
}

/** Any text that XML can hold. */
export function text(): Field<string, string, 'one'> {
  return scalar('text that XML can hold', checkText, (value) => value);
}

/** One of these words. */
export function choice<const W extends readonly string[]>(...words: W): Field<W[number], W[number], 'one'> {
  const known = (value: string): W[number] | undefined => words.find((word) => word === value);
  return scalar(`one of ${words.join(', ')}`, known, (value) => known(value.trim()));
}

/** A whole number that JavaScript holds exactly. */
export function integer(
  min = Number.MIN_SAFE_INTEGER,
  max = Number.MAX_SAFE_INTEGER,
): Field<number, number, 'one'> {
  const check = (value: number): boolean => Number.isSafeInteger(value) && value >= min && value <= max;
  const bounds =
    min === Number.MIN_SAFE_INTEGER && max === Number.MAX_SAFE_INTEGER ? '' : ` from ${min} to ${max}`;
  return scalar(
    `a whole number${bounds}`,
    (value) => (check(value) ? String(value) : undefined),
    (written) => {
      const digits = written.trim();
      const value = /^-?\d{1,16}$/.test(digits) ? Number(digits) : NaN;
      return check(value) ? value : undefined;
    },
  );
}

/** A number of 64 bits, as XML Schema writes doubles (INF, NaN). */
export function number(): Field<number, number, 'one'> {
  return scalar(
    'a number',
    (value) =>
      typeof value !== 'number'
        ? undefined
        : Object.is(value, -0)
          ? '-0'
          : String(value).replace('Infinity', 'INF'),
    (written) => {
      const digits = written.trim();
      if (digits === 'NaN') return NaN;
      if (digits === 'INF') return Infinity;
      if (digits === '-INF') return -Infinity;
      return /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/.test(digits) ? Number(digits) : undefined;
    },
  );
}

export function boolean(): Field<boolean, boolean, 'one'> {
  return scalar(
    'true or false',
    (value) => (typeof value === 'boolean' ? String(value) : undefined),
    (written) => {
      const word = written.trim();
      if (word === 'true' || word === '1') return true;
      return word === 'false' || word === '0' ? false : undefined;
    },
  );
}

/** A few bytes that are part of the message itself, as base64. What is large is a buffer(). */
export function bytes(): Field<Uint8Array, Buffer, 'one'> {
  return {
    presence: 'one',
    write(value, place) {
      if (!(value instanceof Uint8Array)) throw badValue(place, 'bytes', value);
      return [Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64')];
    },
    read(element, place) {
      const written = element.text().replace(/\s+/g, '');
      if (
        element.elements().length > 0 ||
        !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(written)
      )
        throw badElement(place, 'is not base64');
      return Buffer.from(written, 'base64');
    },
  };
}

/** Any one element, as it is. */
export function xml(): Field<XmlElement, XmlElement, 'one'> {
  return {
    presence: 'one',
    write(value, place) {
      if (!(value instanceof XmlElement)) throw badValue(place, 'an XmlElement', value);
      return [value];
    },
    read(element, place) {
      const [only, ...more] = element.elements();
      if (only === undefined || more.length > 0) throw badElement(place, 'does not hold one element');
      return only;
    },
  };
}

/** Memory that travels beside the message: whole buffers change owner, what is lent comes back. */
export function buffer(): Field<Giving, Attached, 'one'> {
  // Messages of one kind call their buffers the same, and an element that points at one can stand in all of them.
  let pointer: { readonly cid: string; readonly content: readonly XmlElement[] } | undefined;
  return {
    presence: 'one',
    write(value, place, sink) {
      if (!isGiving(value)) throw badValue(place, 'a registered buffer', value);
      const cid = sink.attach(place.name, value);
      if (pointer?.cid !== cid) pointer = { cid, content: [include(cid)] };
      return pointer.content;
    },
    read(element, place, source) {
      const inside = element.child(XOP, 'Include');
      const cid = inside && includedCid(inside);
      const attached = cid === undefined ? undefined : source(cid);
      if (attached === undefined) throw badElement(place, 'refers to no buffer of this message');
      return attached;
    },
  };
}

/** A field that may be missing. */
export function optional<S, R>(field: Field<S, R, 'one'>): Field<S, R, 'optional'> {
  return { ...field, presence: 'optional' };
}

/** As many elements as there are items, in their order. */
export function list<S, R>(field: Field<S, R, 'one'>): Field<readonly S[], readonly R[], 'list'> {
  // A record's writer and reader take the items one by one; these are what they take them with.
  return { ...field, presence: 'list' } as unknown as Field<readonly S[], readonly R[], 'list'>;
}

/** Fields inside an element. */
export function record<const F extends Fields>(fields: F): Field<SentRecord<F>, ReceivedRecord<F>, 'one'> {
  const known = new Map(Object.entries(fields));
  for (const name of known.keys()) {
    if (!isNcName(name) || name in Object.prototype)
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `A field cannot be called ${name}: choose a name that XML knows.`,
      );
  }
  return {
    presence: 'one',
    write: (value, place, sink) => writeFields(known, value, place, sink),
    read: (element, place, source) => readFields(known, element, place, source) as ReceivedRecord<F>,
  };
}

/** The element in a body: its name, and what is in it. Its namespace is that of the contract it belongs to. */
export class Body<S, R> {
  readonly name: string;
  readonly #field: Field<S, R, 'one'>;

  constructor(name: string, field: Field<S, R, 'one'>) {
    this.name = name;
    this.#field = field;
  }

  /** Throws INVALID_ARGUMENT for a value that is not of this shape. */
  encode(namespace: string, value: S, sink: Sink): XmlElement {
    const place = { namespace, name: this.name, outer: undefined };
    return new XmlElement(namespace, this.name, this.#field.write(value, place, sink), undefined, PREFIX);
  }

  /** The same under another name. */
  named(name: string): Body<S, R> {
    return new Body(name, this.#field);
  }

  /** Throws Fault MessageNotSupported for an element that is not of this shape. */
  decode(element: XmlElement, source: Source): R {
    const { namespace } = element;
    return this.#field.read(element, { namespace, name: this.name, outer: undefined }, source);
  }
}

/** The prefix that bodies are written with. */
const PREFIX = 'b';

/** The body of a message: an element with these fields. */
export function body<const F extends Fields>(
  name: string,
  fields: F,
): Body<SentRecord<F>, ReceivedRecord<F>> {
  return new Body(name, record(fields));
}

/** What a sender puts into a body of this shape, and what its receiver finds there. */
export type Sending<B> = B extends Body<infer S, unknown> ? S : never;
export type Received<B> = B extends Body<never, infer R> ? R : never;

function writeFields(
  fields: ReadonlyMap<string, AnyField>,
  value: unknown,
  place: Place,
  sink: Sink,
): readonly XmlElement[] {
  if (typeof value !== 'object' || value === null) throw badValue(place, 'an object', value);
  const children: XmlElement[] = [];
  const { namespace } = place;
  let used = 0;
  for (const [name, field] of fields) {
    const content: unknown = (value as Record<string, unknown>)[name];
    if (content === undefined && field.presence === 'optional') {
      if (name in value) used++;
      continue;
    }
    used++;
    const inner = { namespace, name, outer: place };
    const items = field.presence === 'list' ? content : [content];
    if (!Array.isArray(items)) throw badValue(inner, 'a list', content);
    if (items.length > LIST_ITEMS_MAX)
      throw badValue(inner, `a list of at most ${LIST_ITEMS_MAX} items`, items);
    for (const item of items) {
      children.push(new XmlElement(namespace, name, field.write(item, inner, sink), undefined, PREFIX));
    }
  }
  let present = 0;
  for (const name in value) if (Object.hasOwn(value, name)) present++;
  if (present > used) {
    const stranger = Object.keys(value).find((name) => !fields.has(name)) ?? '';
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      `${pathOf(place)} has no field ${stranger}. It has ${[...fields.keys()].join(', ') || 'none'}.`,
    );
  }
  return children;
}

/** A record that was read. It can be declared with `using`: what a message brought may have to be given back. */
class Value implements Disposable {
  #origin: Origin | undefined = undefined;

  [Symbol.dispose](): void {
    this.#origin?.release();
  }

  static setOrigin(value: object, origin: Origin): void {
    if (value instanceof Value) value.#origin = origin;
  }
}

/** What a value was read from. */
interface Origin {
  release(): void;
}

/** Has disposing of a value that was read release what it came with. */
export function disposeWith(value: object, origin: Origin): void {
  Value.setOrigin(value, origin);
}

function readFields(
  fields: ReadonlyMap<string, AnyField>,
  element: XmlElement,
  place: Place,
  source: Source,
): Record<string, unknown> {
  const value = new Value() as unknown as Record<string, unknown>;
  const { namespace } = place;
  let present = 0;
  for (const child of element.children) {
    if (typeof child === 'string') {
      if (child.trim() !== '') throw badElement(place, 'holds text between its elements');
      continue;
    }
    const name = child.localName;
    const field = child.namespace === namespace ? fields.get(name) : undefined;
    if (field === undefined) {
      const known = [...fields.keys()].join(', ') || 'nothing';
      throw badElement(place, `holds an element ${name}; what it may hold is ${known}`);
    }
    const content: unknown = field.read(child, { namespace, name, outer: place }, source);
    const before = value[name] as unknown[] | undefined;
    if (field.presence === 'list') {
      if (before === undefined) value[name] = [content];
      else if (before.push(content) > LIST_ITEMS_MAX)
        throw badElement(place, `holds more than ${LIST_ITEMS_MAX} of ${name}`);
    } else if (before !== undefined) {
      throw badElement(place, `holds ${name} twice`);
    } else {
      value[name] = content;
    }
    present++;
  }
  if (present < fields.size || fields.size > Object.keys(value).length) fillIn(fields, value, place);
  return value;
}

/** Lists that are empty have no elements. Throws where something else has none and should. */
function fillIn(fields: ReadonlyMap<string, AnyField>, value: Record<string, unknown>, place: Place): void {
  for (const [name, field] of fields) {
    if (Object.hasOwn(value, name)) continue;
    if (field.presence === 'list') value[name] = [];
    else if (field.presence === 'one') throw badElement(place, `has no ${name}`);
  }
}

function isGiving(value: unknown): value is Giving {
  return (
    value instanceof Lent ||
    (typeof value === 'object' && value !== null && 'holders' in (value as RegisteredBuffer))
  );
}

function checkText(value: unknown): string | undefined {
  return typeof value === 'string' && isText(value) ? value : undefined;
}

function pathOf(place: Place): string {
  return place.outer === undefined ? place.name : `${pathOf(place.outer)}/${place.name}`;
}

function badValue(place: Place, expected: string, value: unknown): SplitplaneError {
  const found = value === null ? 'null' : typeof value;
  return new SplitplaneError('INVALID_ARGUMENT', `${pathOf(place)} is ${expected}, not this ${found}.`);
}

function badElement(place: Place, what: string): Fault {
  return new Fault(
    'MessageNotSupported',
    `${pathOf(place)} ${what}. Send what the contract {${place.namespace}} says.`,
  );
}
