// WS-Addressing 1.0 (core and SOAP binding): endpoint references, the message addressing properties, and the faults that
// the binding prescribes. Reads header blocks into properties and writes properties as header blocks. Knows nothing of
// envelopes or bytes.
import { attribute, element, XmlElement, type QName } from './infoset.js';
import { MessageRefusedError, SoapFault } from './fault.js';
import { NamespaceScope, REFERENCES, SOAP, WSA } from './namespaces.js';

/** "Back on the connection this came from." Core, section 2.1. */
export const ANONYMOUS = `${WSA}/anonymous`;
/** "Do not send it at all." Core, section 2.1. */
export const NONE = `${WSA}/none`;
/** The action of faults that WS-Addressing defines. SOAP binding, section 6. */
export const ADDRESSING_FAULT_ACTION = `${WSA}/fault`;
/** The action of other faults. SOAP binding, section 6. */
export const SOAP_FAULT_ACTION = `${WSA}/soap/fault`;

/** Core, section 2. */
export interface EndpointReference {
  readonly address: string;
  /** Copied into the header of every message to this endpoint. */
  readonly referenceParameters: readonly XmlElement[];
}

/** The message addressing properties. Core, section 3. */
export interface Addressing {
  /** wsa:To; anonymous when the header has none. */
  readonly to: string;
  /** wsa:Action; every message has one. */
  readonly action: string;
  /** wsa:MessageID. */
  readonly messageId: string | undefined;
  /** wsa:RelatesTo with the reply relationship. */
  readonly relatesTo: string | undefined;
  /** wsa:ReplyTo; anonymous is meant when it is undefined. */
  readonly replyTo: EndpointReference | undefined;
  /** wsa:FaultTo; `replyTo` is meant when it is undefined. */
  readonly faultTo: EndpointReference | undefined;
}

const REPLY_RELATIONSHIP = `${WSA}/reply`;
const ROLE_PREFIX = `${SOAP}/role/`;

/** Whether a header block is meant for this node, the last on the path. SOAP 1.2 part 1, section 2.2. */
export function isTargetedHere(block: XmlElement): boolean {
  if (block.attributes.length === 0) return true;
  const role = block.attribute('role', SOAP);
  return (
    role === undefined ||
    role === '' ||
    role === `${ROLE_PREFIX}ultimateReceiver` ||
    role === `${ROLE_PREFIX}next`
  );
}

/** Collects the properties from header blocks, one after the other. */
export class AddressingReader {
  private to: string | undefined = undefined;
  private action: string | undefined = undefined;
  private messageId: string | undefined = undefined;
  private relatesTo: string | undefined = undefined;
  private replyTo: EndpointReference | undefined = undefined;
  private faultTo: EndpointReference | undefined = undefined;

  /** Takes a block of the wsa namespace; false leaves it to others. Throws what the binding prescribes. */
  accept(block: XmlElement): boolean {
    if (!isTargetedHere(block)) return false;
    switch (block.localName) {
      case 'To':
        this.to = readUri(block, this.to);
        return true;
      case 'Action':
        this.action = readUri(block, this.action);
        return true;
      case 'MessageID':
        this.messageId = readUri(block, this.messageId);
        return true;
      case 'RelatesTo':
        if ((block.attribute('RelationshipType') ?? REPLY_RELATIONSHIP) !== REPLY_RELATIONSHIP) return false;
        this.relatesTo = readUri(block, this.relatesTo);
        return true;
      case 'ReplyTo':
        this.replyTo = readEndpointReference(block, this.replyTo);
        return true;
      case 'FaultTo':
        this.faultTo = readEndpointReference(block, this.faultTo);
        return true;
      default:
        return false;
    }
  }

  /** The properties of the whole header. Throws when it names no action. */
  finish(): Addressing {
    const { to = ANONYMOUS, action, messageId, relatesTo, replyTo, faultTo } = this;
    if (action === undefined) {
      throw addressingFault(
        'MessageAddressingHeaderRequired',
        undefined,
        'Action',
        'The header has no wsa:Action.',
      );
    }
    return { to, action, messageId, relatesTo, replyTo, faultTo };
  }
}

/** The properties as header blocks; what equals the default is left out. */
export function addressingBlocks(properties: Addressing): XmlElement[] {
  const blocks = [uriBlock('To', properties.to), uriBlock('Action', properties.action)];
  if (properties.replyTo) blocks.push(endpointReferenceElement('ReplyTo', properties.replyTo));
  if (properties.faultTo) blocks.push(endpointReferenceElement('FaultTo', properties.faultTo));
  if (properties.messageId !== undefined) blocks.push(uriBlock('MessageID', properties.messageId));
  if (properties.relatesTo !== undefined) blocks.push(uriBlock('RelatesTo', properties.relatesTo));
  return blocks;
}

/** The blocks that a message to this endpoint must carry. SOAP binding, section 3.3. */
export function referenceParameterBlocks(endpoint: EndpointReference): XmlElement[] {
  const mark = attribute('IsReferenceParameter', 'true', WSA, 'wsa');
  return endpoint.referenceParameters.map(
    (block) =>
      new XmlElement(
        block.namespace,
        block.localName,
        block.children,
        [...block.attributes.filter((a) => a.namespace !== WSA || a.localName !== mark.localName), mark],
        block.prefix,
        block.scope,
      ),
  );
}

function uriBlock(localName: string, uri: string): XmlElement {
  return new XmlElement(WSA, localName, [uri], undefined, 'wsa');
}

function endpointReferenceElement(localName: string, endpoint: EndpointReference): XmlElement {
  const children = [uriBlock('Address', endpoint.address)];
  if (endpoint.referenceParameters.length > 0) {
    children.push(new XmlElement(WSA, 'ReferenceParameters', endpoint.referenceParameters, undefined, 'wsa'));
  }
  return new XmlElement(WSA, localName, children, undefined, 'wsa');
}

/** The URI in a block, of which there may be only one: hence `previous`. */
function readUri(block: XmlElement, previous: string | undefined): string {
  if (previous !== undefined) throw invalidCardinality(block);
  const uri = block.text().trim();
  if (uri === '') {
    throw addressingFault(
      'InvalidAddressingHeader',
      undefined,
      block.localName,
      `wsa:${block.localName} is empty.`,
    );
  }
  return uri;
}

function readEndpointReference(
  block: XmlElement,
  previous: EndpointReference | undefined,
): EndpointReference {
  if (previous !== undefined) throw invalidCardinality(block);
  const addresses = block.elements().filter((child) => child.is(WSA, 'Address'));
  const address = addresses[0]?.text().trim();
  if (addresses.length > 1) throw invalidCardinality(block);
  if (address === undefined || address === '') {
    const reason = `wsa:${block.localName} has no wsa:Address.`;
    throw addressingFault('InvalidAddressingHeader', 'MissingAddressInEPR', block.localName, reason);
  }
  const referenceParameters = block.child(WSA, 'ReferenceParameters')?.elements() ?? [];
  // An answer carries these as header blocks: they must not pass for blocks that this side writes itself.
  if (referenceParameters.some(({ namespace }) => namespace === WSA || namespace === REFERENCES)) {
    const reason = `wsa:${block.localName} has reference parameters that would forge header blocks.`;
    throw addressingFault('InvalidAddressingHeader', undefined, block.localName, reason);
  }
  return { address, referenceParameters };
}

function invalidCardinality(block: XmlElement): MessageRefusedError {
  const reason = `The header has more than one wsa:${block.localName}.`;
  return addressingFault('InvalidAddressingHeader', 'InvalidCardinality', block.localName, reason);
}

/** A predefined fault. SOAP binding, sections 6.3 and 6.4. */
function addressingFault(
  subcode: 'InvalidAddressingHeader' | 'MessageAddressingHeaderRequired',
  subsubcode: 'InvalidCardinality' | 'MissingAddressInEPR' | undefined,
  problemHeader: string,
  reason: string,
): MessageRefusedError {
  const subcodes: QName[] = [{ namespace: WSA, localName: subcode }];
  if (subsubcode !== undefined) subcodes.push({ namespace: WSA, localName: subsubcode });
  const problem = new XmlElement(
    WSA,
    'ProblemHeaderQName',
    [`wsa:${problemHeader}`],
    undefined,
    'wsa',
    new NamespaceScope(undefined, 'wsa', WSA),
  );
  const fault = new SoapFault({
    code: 'Sender',
    subcodes,
    reason: `${reason} Send exactly what WS-Addressing 1.0 asks for.`,
    detail: [problem],
  });
  return new MessageRefusedError('MESSAGE_INVALID', fault);
}

/** Blocks that a fault names; the specification does not ask for all. A message has room for thousands, and the fault would not have. */
const NOT_UNDERSTOOD_MAX = 8;

/**
 * Refuses a message with a mandatory header block that nobody here understands. SOAP 1.2 part 1, sections 2.6 and 5.4.8.
 * `blocks` are those that neither addressing nor references took.
 */
export function refuseNotUnderstood(
  blocks: readonly XmlElement[],
  understands: (name: QName) => boolean,
): void {
  if (blocks.length === 0) return;
  const all = blocks.filter((block) => isMandatory(block) && isTargetedHere(block) && !understands(block));
  if (all.length === 0) return;
  const unknown = all.slice(0, NOT_UNDERSTOOD_MAX);
  const more = all.length > unknown.length ? ` and ${all.length - unknown.length} more` : '';
  const names = unknown.map((block) => `{${block.namespace}}${block.localName}`).join(', ') + more;
  const fault = new SoapFault({
    code: 'MustUnderstand',
    reason: `Mandatory header blocks are not understood: ${names}. Leave them out, or make them optional.`,
    headers: unknown.map((block) =>
      element(SOAP, 'NotUnderstood', [], {
        attributes: { qname: block.namespace === '' ? block.localName : `n:${block.localName}` },
        namespaces: block.namespace === '' ? {} : { n: block.namespace },
      }),
    ),
  });
  throw new MessageRefusedError('MESSAGE_INVALID', fault);
}

/** SOAP 1.2 part 1, section 5.2.3. */
function isMandatory(block: XmlElement): boolean {
  switch (block.attribute('mustUnderstand', SOAP)?.trim()) {
    case undefined:
    case 'false':
    case '0':
      return false;
    case 'true':
    case '1':
      return true;
    default:
      throw MessageRefusedError.sender(
        `s:mustUnderstand of ${block.localName} is not a boolean. Send true or false.`,
      );
  }
}
