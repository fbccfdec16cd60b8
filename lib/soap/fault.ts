// SOAP 1.2 faults (part 1, section 5.4): the value, its reader and its element, the subcodes of DSSP, and the two local
// errors that carry a fault: one for a message this side refuses, one for a fault a peer answered with. Knows nothing of
// envelopes or bytes.
import { SplitplaneError, type ErrorCode } from '../errors.js';
import { attribute, element, XmlElement, type QName } from './infoset.js';
import { DSSP, NamespaceScope, SOAP, SOAP_11, WSA, XML } from './namespaces.js';

/** SOAP 1.2 part 1, section 5.4.6. */
export const FAULT_CODES = [
  'VersionMismatch',
  'MustUnderstand',
  'DataEncodingUnknown',
  'Sender',
  'Receiver',
] as const;
export type FaultCode = (typeof FAULT_CODES)[number];

/** DSSP's subcodes, with the side that each blames. */
const DSSP_SUBCODES = {
  ActionNotSupported: 'Sender',
  MessageNotSupported: 'Sender',
  DuplicateEntry: 'Sender',
  UnknownEntry: 'Sender',
  PermissionDenied: 'Sender',
  InsufficientResources: 'Receiver',
  OperationCanceled: 'Receiver',
  OperationFailed: 'Receiver',
  QueuingLimitExceeded: 'Receiver',
  ResponseTimeout: 'Receiver',
} as const satisfies Record<string, FaultCode>;
export type DsspSubcode = keyof typeof DSSP_SUBCODES;

/** Subcodes nest; this many are read, more than any specification uses. */
export const FAULT_SUBCODES_MAX = 8;

/** The prefixes a fault's codes are written with. */
const FAULT_SCOPE = NamespaceScope.of({ s: SOAP, wsa: WSA, dssp: DSSP });

export interface SoapFaultInit {
  readonly code: FaultCode;
  /** Outermost first. */
  readonly subcodes?: readonly QName[];
  /** One English sentence for people. */
  readonly reason: string;
  readonly detail?: readonly XmlElement[];
  /** Header blocks that go with the fault and not into it: Upgrade, NotUnderstood. */
  readonly headers?: readonly XmlElement[];
}

/** A fault as a value. It is not an Error: receiving one is not a failure of this side. */
export class SoapFault {
  readonly code: FaultCode;
  readonly subcodes: readonly QName[];
  readonly reason: string;
  readonly detail: readonly XmlElement[];
  readonly headers: readonly XmlElement[];

  constructor(init: SoapFaultInit) {
    this.code = init.code;
    this.subcodes = init.subcodes ?? [];
    this.reason = init.reason;
    this.detail = init.detail ?? [];
    this.headers = init.headers ?? [];
  }

  /** A fault with one of DSSP's subcodes, blaming the side that DSSP blames. */
  static dssp(subcode: DsspSubcode, reason: string, detail: readonly XmlElement[] = []): SoapFault {
    const subcodes = [{ namespace: DSSP, localName: subcode }];
    return new SoapFault({ code: DSSP_SUBCODES[subcode], subcodes, reason, detail });
  }

  /** Whether this subcode is among its subcodes, at any depth. */
  hasSubcode(namespace: string, localName: string): boolean {
    return this.subcodes.some((name) => name.namespace === namespace && name.localName === localName);
  }

  /** The s:Fault element, for the body. */
  toElement(): XmlElement {
    let subcode: XmlElement[] = [];
    for (const name of [...this.subcodes].reverse()) {
      subcode = [element(SOAP, 'Subcode', [qnameElement(name), ...subcode])];
    }
    const code = element(SOAP, 'Code', [qnameElement({ namespace: SOAP, localName: this.code }), ...subcode]);
    const text = element(SOAP, 'Text', this.reason, {
      qualifiedAttributes: [attribute('lang', 'en', XML, 'xml')],
    });
    const children = [code, element(SOAP, 'Reason', text)];
    if (this.detail.length > 0) children.push(element(SOAP, 'Detail', this.detail));
    return element(SOAP, 'Fault', children);
  }

  /** Reads an s:Fault element that a peer sent with these header blocks. Throws MESSAGE_INVALID when it is not one. */
  static fromElement(fault: XmlElement, headers: readonly XmlElement[] = []): SoapFault {
    if (!fault.is(SOAP, 'Fault')) throw invalidFault('it is not an s:Fault element');
    const code = fault.child(SOAP, 'Code');
    const value = code && readQName(code);
    if (code === undefined || value === undefined) throw invalidFault('its Code has no Value that is a name');
    const known = FAULT_CODES.find((name) => name === value.localName);
    if (value.namespace !== SOAP || known === undefined) {
      throw invalidFault(`its code {${value.namespace}}${value.localName} is none of SOAP 1.2's`);
    }
    const subcodes: QName[] = [];
    let at = code.child(SOAP, 'Subcode');
    while (at !== undefined) {
      const name = readQName(at);
      if (name === undefined) throw invalidFault('a Subcode has no Value that is a name');
      if (subcodes.length === FAULT_SUBCODES_MAX) throw invalidFault('its subcodes nest too deep');
      subcodes.push(name);
      at = at.child(SOAP, 'Subcode');
    }
    const detail = fault.child(SOAP, 'Detail')?.elements() ?? [];
    return new SoapFault({ code: known, subcodes, reason: readReason(fault), detail, headers });
  }
}

/** The English text of a fault, or its first. */
function readReason(fault: XmlElement): string {
  const texts = fault.child(SOAP, 'Reason')?.elements() ?? [];
  const english = texts.find((text) => text.attribute('lang', XML)?.toLowerCase().startsWith('en'));
  return (english ?? texts[0])?.text() ?? '';
}

function readQName(parent: XmlElement): QName | undefined {
  const value = parent.child(SOAP, 'Value');
  return value?.resolveQName(value.text());
}

function qnameElement(name: QName): XmlElement {
  const known = FAULT_SCOPE?.prefixFor(name.namespace);
  const scope = known === undefined ? new NamespaceScope(FAULT_SCOPE, 'n', name.namespace) : FAULT_SCOPE;
  return new XmlElement(SOAP, 'Value', [`${known ?? 'n'}:${name.localName}`], undefined, 's', scope);
}

function invalidFault(what: string): SplitplaneError {
  return new SplitplaneError(
    'MESSAGE_INVALID',
    `The peer's fault cannot be read: ${what}. Correct the peer.`,
  );
}

/** A message from a peer that this side refuses. `fault` is what to answer the peer with. */
export class MessageRefusedError extends SplitplaneError {
  readonly fault: SoapFault;

  constructor(code: ErrorCode, fault: SoapFault, options?: ErrorOptions) {
    super(code, fault.reason, options);
    this.fault = fault;
  }

  /** The common case: the sender is to blame and no specification has a finer word for it. */
  static sender(reason: string, options?: ErrorOptions): MessageRefusedError {
    return new MessageRefusedError('MESSAGE_INVALID', new SoapFault({ code: 'Sender', reason }), options);
  }

  /** What arrived exceeds a limit of this side. */
  static limit(what: string, limit: number): MessageRefusedError {
    const reason = `The message has ${what}; this side accepts ${limit}. Send less at once, or raise the limit.`;
    return new MessageRefusedError('LIMIT_EXCEEDED', new SoapFault({ code: 'Sender', reason }));
  }

  /** The outermost element is not SOAP 1.2's; the fault goes with an Upgrade block (part 1, section 5.4.7). */
  static versionMismatch(root: QName): MessageRefusedError {
    const found = root.namespace === SOAP_11 ? 'SOAP 1.1' : `{${root.namespace}}${root.localName}`;
    const reason = `The message is ${found}, not a SOAP 1.2 envelope. Send SOAP 1.2.`;
    const supported = element(SOAP, 'SupportedEnvelope', [], {
      attributes: { qname: 's:Envelope' },
      namespaces: { s: SOAP },
    });
    const headers = [element(SOAP, 'Upgrade', supported)];
    return new MessageRefusedError(
      'MESSAGE_INVALID',
      new SoapFault({ code: 'VersionMismatch', reason, headers }),
    );
  }
}

/** A peer answered a request with a fault. */
export class FaultError extends SplitplaneError {
  readonly fault: SoapFault;

  constructor(fault: SoapFault) {
    const subcode = fault.subcodes.at(-1)?.localName;
    super('FAULT', `The peer answered ${subcode ?? fault.code}: ${fault.reason}`);
    this.fault = fault;
  }
}
