// The SOAP 1.2 envelope (part 1, section 5): addressing properties, references, other header blocks, body. It is either
// built from properties, and then becomes infoset when an encoding asks, or read from infoset, and then becomes properties at once
// and body when somebody asks. Immutable. Knows nothing of bytes.
import { SplitplaneError } from '../errors.js';
import {
  addressingBlocks,
  ADDRESSING_FAULT_ACTION,
  AddressingReader,
  ANONYMOUS,
  NONE,
  referenceParameterBlocks,
  SOAP_FAULT_ACTION,
  type Addressing,
  type EndpointReference,
} from './addressing.js';
import { MessageRefusedError, SoapFault } from './fault.js';
import { XmlElement } from './infoset.js';
import { newMessageId } from './message-id.js';
import { REFERENCES, SOAP, WSA } from './namespaces.js';
import {
  checkIncludes,
  checkReferences,
  readReferences,
  referencesBlock,
  type Reference,
} from './references.js';

/** What an envelope is built from. */
export interface EnvelopeInit {
  /** wsa:Action: what the message means. */
  readonly action: string;
  /** wsa:To; anonymous (back on the connection) when left out. */
  readonly to?: string | undefined;
  /** wsa:MessageID; a new one when left out. */
  readonly messageId?: string | undefined;
  /** wsa:RelatesTo: the id of the message this one answers. */
  readonly relatesTo?: string | undefined;
  /** wsa:ReplyTo; a string stands for an endpoint with that address. */
  readonly replyTo?: EndpointReference | string | undefined;
  /** wsa:FaultTo; a string stands for an endpoint with that address. */
  readonly faultTo?: EndpointReference | string | undefined;
  /** Header blocks other than addressing and references. */
  readonly headers?: readonly XmlElement[] | undefined;
  /** The buffers that travel beside the message. Whoever sends it adds them, because tags belong to a peer. */
  readonly references?: readonly Reference[] | undefined;
  /** The children of s:Body. */
  readonly body?: XmlElement | readonly XmlElement[] | undefined;
}

/** What a reply is built from: the addressing comes from the request. */
export type ReplyInit = Omit<EnvelopeInit, 'to' | 'relatesTo'>;

/** A header that says no more than these. */
export type EnvelopeProperties = Pick<Envelope, 'to' | 'action' | 'messageId' | 'relatesTo' | 'references'>;

/** Where a decoded body comes from. Called once; throws MessageRefusedError when the body is malformed. */
export type BodyReader = () => readonly XmlElement[];

/** In the place of a message id: one that is made when somebody asks for it, which inside a process nobody does. */
const ON_DEMAND = Symbol('on demand');

interface Parts extends Omit<Addressing, 'messageId' | 'relatesTo'> {
  readonly messageId: string | typeof ON_DEMAND | undefined;
  /** The request stands for its id, which may not have been made yet. */
  readonly relatesTo: string | Envelope | undefined;
  readonly headers: readonly XmlElement[];
  readonly references: readonly Reference[];
  /** The whole header as infoset, if it came as infoset. */
  readonly blocks: readonly XmlElement[] | undefined;
}

const NO_ELEMENTS: readonly XmlElement[] = Object.freeze([]);
const NO_REFERENCES: readonly Reference[] = Object.freeze([]);

/** A message. */
export class Envelope implements Addressing {
  readonly to: string;
  readonly action: string;
  readonly replyTo: EndpointReference | undefined;
  readonly faultTo: EndpointReference | undefined;
  /** The header blocks that are neither addressing nor references. */
  readonly headers: readonly XmlElement[];
  readonly references: readonly Reference[];

  #messageId: Parts['messageId'];
  #relatesTo: Parts['relatesTo'];
  readonly #body: LazyBody;
  readonly #blocks: readonly XmlElement[] | undefined;

  private constructor(parts: Parts, body: LazyBody) {
    this.to = parts.to;
    this.action = parts.action;
    this.#messageId = parts.messageId;
    this.#relatesTo = parts.relatesTo;
    this.replyTo = parts.replyTo;
    this.faultTo = parts.faultTo;
    this.headers = parts.headers;
    this.references = parts.references;
    this.#blocks = parts.blocks;
    this.#body = body;
  }

  /**
   * A new message. Throws INVALID_ARGUMENT for invalid addresses and references, and for `headers` that have a property
   * of their own.
   */
  static of(init: EnvelopeInit): Envelope {
    return Envelope.#of(init, init.to, init.relatesTo, init.headers);
  }

  /** Takes some properties by themselves: an answer's come from its request, and copying `init` would cost more than all else. */
  static #of(
    init: ReplyInit,
    to: string | undefined,
    relatesTo: string | Envelope | undefined,
    headers: readonly XmlElement[] = NO_ELEMENTS,
  ): Envelope {
    const { references = NO_REFERENCES, body = NO_ELEMENTS } = init;
    checkReferences(references);
    for (const block of headers) checkOtherBlock(block);
    const parts: Parts = {
      to: checkUri('to', to) ?? ANONYMOUS,
      action: checkUri('action', init.action),
      messageId: checkUri('messageId', init.messageId) ?? ON_DEMAND,
      relatesTo: typeof relatesTo === 'object' ? relatesTo : checkUri('relatesTo', relatesTo),
      replyTo: toEndpoint('replyTo', init.replyTo),
      faultTo: toEndpoint('faultTo', init.faultTo),
      headers,
      references,
      blocks: undefined,
    };
    return new Envelope(parts, new LazyBody(body instanceof XmlElement ? [body] : body));
  }

  /**
   * The message that arrived as these header blocks, and a body to be read later. Throws MessageRefusedError when the
   * header breaks WS-Addressing or its references are invalid.
   */
  static fromInfoset(blocks: readonly XmlElement[], readBody: BodyReader): Envelope {
    const addressing = new AddressingReader();
    let headers: XmlElement[] | undefined;
    let references: readonly Reference[] | undefined;
    for (const block of blocks) {
      if (block.namespace === WSA && addressing.accept(block)) continue;
      if (block.is(REFERENCES, 'References')) {
        if (references !== undefined) {
          throw MessageRefusedError.sender(
            'The header has two sp:References blocks. Put all references into one.',
          );
        }
        references = readReferences(block);
      } else {
        (headers ??= []).push(block);
      }
    }
    references ??= NO_REFERENCES;
    const { to, action, messageId, relatesTo, replyTo, faultTo } = addressing.finish();
    const parts = {
      to,
      action,
      messageId,
      relatesTo,
      replyTo,
      faultTo,
      headers: headers ?? NO_ELEMENTS,
      references,
      blocks,
    };
    return new Envelope(parts, new LazyBody(readBody, references));
  }

  /** The message that arrived with this header, already checked, and a body to be read later. */
  static fromProperties(properties: EnvelopeProperties, readBody: BodyReader): Envelope {
    const { to, action, messageId, relatesTo, references } = properties;
    const none = undefined;
    const parts = {
      to,
      action,
      messageId,
      relatesTo,
      replyTo: none,
      faultTo: none,
      headers: NO_ELEMENTS,
      references,
      blocks: none,
    };
    return new Envelope(parts, new LazyBody(readBody, references));
  }

  get messageId(): string | undefined {
    if (this.#messageId === ON_DEMAND) this.#messageId = newMessageId();
    return this.#messageId;
  }

  get relatesTo(): string | undefined {
    if (typeof this.#relatesTo === 'object') this.#relatesTo = this.#relatesTo.messageId;
    return this.#relatesTo;
  }

  /**
   * The children of s:Body. The first read of a message that arrived decodes them, and throws MessageRefusedError when
   * they are malformed or point at a buffer that the header does not list; so does every later read.
   */
  get body(): readonly XmlElement[] {
    return this.#body.read();
  }

  /** The whole header as infoset: addressing, the other blocks, references. */
  get blocks(): readonly XmlElement[] {
    if (this.#blocks !== undefined) return this.#blocks;
    const blocks = [...addressingBlocks(this), ...this.headers];
    if (this.references.length > 0) blocks.push(referencesBlock(this.references));
    return blocks;
  }

  /** Whether the header says no more than EnvelopeProperties hold, so that an encoding may write it from those. */
  get isPlain(): boolean {
    return (
      this.#blocks === undefined &&
      this.headers.length === 0 &&
      this.replyTo === undefined &&
      this.faultTo === undefined
    );
  }

  /** The fault that the body is, if it is one. Throws MESSAGE_INVALID when it is one that cannot be read. */
  get fault(): SoapFault | undefined {
    const first = this.body[0];
    if (!first?.is(SOAP, 'Fault')) return undefined;
    return SoapFault.fromElement(
      first,
      this.headers.filter((block) => block.namespace === SOAP),
    );
  }

  /** The same message with these references in place of its own; the body is shared. */
  withReferences(references: readonly Reference[]): Envelope {
    checkReferences(references);
    return this.withMadeReferences(references);
  }

  /** @internal The same for references that were made here, of which all but the names is known to be right. */
  withMadeReferences(references: readonly Reference[]): Envelope {
    let blocks = this.#blocks;
    if (blocks !== undefined) {
      const others = blocks.filter((block) => !block.is(REFERENCES, 'References'));
      blocks = references.length > 0 ? [...others, referencesBlock(references)] : others;
    }
    const { to, action, messageId, relatesTo, replyTo, faultTo, headers } = this;
    const parts = { to, action, messageId, relatesTo, replyTo, faultTo, headers, references, blocks };
    return new Envelope(parts, this.#body);
  }

  /**
   * The same message as somebody in between passes it on: under an id of its own, since two senders may have used one, with these
   * other header blocks, and without wsa:ReplyTo and wsa:FaultTo, because the answer is for who passes it on. Shares the body.
   */
  passedOn(to: string, headers: readonly XmlElement[]): Envelope {
    return this.#readdressed(to, undefined, headers);
  }

  /** This answer to a message that was passed on, as the answer to the message that it was before. Shares the body. */
  answerTo(request: Envelope): Envelope {
    const { action } = this;
    const isFault = action === SOAP_FAULT_ACTION || action === ADDRESSING_FAULT_ACTION;
    const endpoint = isFault ? (request.faultTo ?? request.replyTo) : request.replyTo;
    const own = this.headers;
    const headers = endpoint === undefined ? own : [...own, ...referenceParameterBlocks(endpoint)];
    return this.#readdressed(endpoint?.address ?? ANONYMOUS, request, headers);
  }

  /** The answer to this message, addressed as its wsa:ReplyTo asks. WS-Addressing 1.0 core, section 3.4. */
  reply(init: ReplyInit): Envelope {
    return this.#answer(this.replyTo, init);
  }

  /** The fault that answers this message, addressed as its wsa:FaultTo or wsa:ReplyTo asks. */
  replyFault(fault: SoapFault): Envelope {
    return this.#answer(this.faultTo ?? this.replyTo, faultInit(fault));
  }

  /** The fault that answers a message whose header cannot be read. */
  static fault(fault: SoapFault): Envelope {
    return Envelope.of(faultInit(fault));
  }

  /** Whether the sender of this message wants no answer. */
  get wantsNoReply(): boolean {
    return this.replyTo?.address === NONE;
  }

  #readdressed(to: string, relatesTo: Envelope | undefined, headers: readonly XmlElement[]): Envelope {
    const { action, references } = this;
    const parts = {
      to,
      action,
      messageId: ON_DEMAND,
      relatesTo,
      replyTo: undefined,
      faultTo: undefined,
      headers,
      references,
      blocks: undefined,
    } as const;
    return new Envelope(parts, this.#body);
  }

  #answer(endpoint: EndpointReference | undefined, init: ReplyInit): Envelope {
    const own = init.headers ?? NO_ELEMENTS;
    const headers = endpoint === undefined ? own : [...own, ...referenceParameterBlocks(endpoint)];
    return Envelope.#of(init, endpoint?.address, this, headers);
  }
}

/** A body that is here, or is read when first asked for. Shared by the envelopes that differ in their header only. */
class LazyBody {
  #body: readonly XmlElement[] | undefined = undefined;
  #error: Error | undefined = undefined;
  readonly #reader: BodyReader | undefined;
  readonly #references: readonly Reference[];

  constructor(source: readonly XmlElement[] | BodyReader, references: readonly Reference[] = NO_REFERENCES) {
    this.#references = references;
    if (typeof source === 'function') {
      this.#reader = source;
    } else {
      this.#body = source;
      this.#reader = undefined;
    }
  }

  read(): readonly XmlElement[] {
    return this.#body ?? this.#decode();
  }

  #decode(): readonly XmlElement[] {
    if (this.#error !== undefined) throw this.#error;
    try {
      const body = this.#reader?.() ?? NO_ELEMENTS;
      checkIncludes(body, this.#references);
      this.#body = body;
      return body;
    } catch (error) {
      this.#error = error instanceof Error ? error : new Error(String(error));
      throw this.#error;
    }
  }
}

function faultInit(fault: SoapFault): EnvelopeInit {
  const action = fault.subcodes[0]?.namespace === WSA ? ADDRESSING_FAULT_ACTION : SOAP_FAULT_ACTION;
  return { action, headers: fault.headers, body: fault.toElement() };
}

function toEndpoint(
  name: string,
  endpoint: EndpointReference | string | undefined,
): EndpointReference | undefined {
  if (endpoint === undefined) return undefined;
  const reference = typeof endpoint === 'string' ? { address: endpoint, referenceParameters: [] } : endpoint;
  checkUri(name, reference.address);
  return reference;
}

/** A peer refuses an empty URI, and reads one without the white space around it. */
function checkUri<T extends string | undefined>(name: string, uri: T): T {
  if (uri === undefined || (uri !== '' && uri.trim() === uri)) return uri;
  throw new SplitplaneError('INVALID_ARGUMENT', `${name} must be a URI without white space around it.`);
}

function checkOtherBlock(block: XmlElement): void {
  const taken =
    block.namespace === WSA ? new AddressingReader().accept(block) : block.is(REFERENCES, 'References');
  if (!taken) return;
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    `The header block ${block.localName} has a property of its own. Set that instead of listing it in headers.`,
  );
}
