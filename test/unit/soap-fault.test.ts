// Proves that a fault is the same value after its element was written and read, and that what is no fault is refused.

import { describe, expect, test } from 'vitest';
import { SplitplaneError } from '../../lib/errors.js';
import { FAULT_SUBCODES_MAX, FaultError, MessageRefusedError, SoapFault } from '../../lib/soap/fault.js';
import { element, type QName } from '../../lib/soap/infoset.js';
import { DSSP, SOAP, SOAP_11, WSA } from '../../lib/soap/namespaces.js';

const dssp = (localName: string): QName => ({ namespace: DSSP, localName });

describe('SoapFault', () => {
  test('reads back what its element says: code, nested subcodes, reason, detail', () => {
    const fault = new SoapFault({
      code: 'Sender',
      subcodes: [dssp('UnknownEntry'), { namespace: 'urn:example:a', localName: 'NoSuchFile' }],
      reason: 'There is no such file.',
      detail: [element('urn:example:a', 'Path', '/x')],
    });
    const read = SoapFault.fromElement(fault.toElement());
    expect(read).toEqual(fault);
    expect(read.hasSubcode('urn:example:a', 'NoSuchFile')).toBe(true);
    expect(read.hasSubcode(WSA, 'NoSuchFile')).toBe(false);
  });

  test('every DSSP subcode blames the side that can do something about it', () => {
    expect(SoapFault.dssp('UnknownEntry', 'No.').code).toBe('Sender');
    expect(SoapFault.dssp('QueuingLimitExceeded', 'Full.').code).toBe('Receiver');
    expect(SoapFault.dssp('ResponseTimeout', 'Late.').subcodes).toEqual([dssp('ResponseTimeout')]);
  });

  test('prefers the English reason among several', () => {
    const text = (lang: string, reason: string) =>
      element(SOAP, 'Text', reason, {
        qualifiedAttributes: [
          {
            namespace: 'http://www.w3.org/XML/1998/namespace',
            localName: 'lang',
            value: lang,
            prefix: 'xml',
          },
        ],
      });
    const fault = element(SOAP, 'Fault', [
      element(SOAP, 'Code', element(SOAP, 'Value', 's:Sender', { namespaces: { s: SOAP } })),
      element(SOAP, 'Reason', [text('de', 'Nein.'), text('en-US', 'No.')]),
    ]);
    expect(SoapFault.fromElement(fault).reason).toBe('No.');
  });

  const value = (text: string) => element(SOAP, 'Value', text, { namespaces: { s: SOAP, x: 'urn:x' } });
  const deep = (levels: number): ReturnType<typeof element>[] =>
    levels === 0 ? [] : [element(SOAP, 'Subcode', [value('x:Y'), ...deep(levels - 1)])];
  test.each([
    ['another element', element(SOAP, 'Code')],
    ['no Code', element(SOAP, 'Fault')],
    ['no Value', element(SOAP, 'Fault', element(SOAP, 'Code'))],
    ['a code with an unbound prefix', element(SOAP, 'Fault', element(SOAP, 'Code', value('q:Sender')))],
    ['a code of SOAP 1.1', element(SOAP, 'Fault', element(SOAP, 'Code', value('s:Client')))],
    ['a code of another namespace', element(SOAP, 'Fault', element(SOAP, 'Code', value('x:Sender')))],
    [
      'a Subcode without Value',
      element(SOAP, 'Fault', element(SOAP, 'Code', [value('s:Sender'), element(SOAP, 'Subcode')])),
    ],
    [
      'subcodes nested too deep',
      element(SOAP, 'Fault', element(SOAP, 'Code', [value('s:Sender'), ...deep(FAULT_SUBCODES_MAX + 1)])),
    ],
  ])('refuses %s', (_what, broken) => {
    expect(() => SoapFault.fromElement(broken)).toThrow(
      expect.objectContaining({ code: 'MESSAGE_INVALID' }) as Error,
    );
  });
});

describe('the errors that carry a fault', () => {
  test('a refused message names SOAP 1.1 when it is that, and offers SOAP 1.2', () => {
    const refusal = MessageRefusedError.versionMismatch({ namespace: SOAP_11, localName: 'Envelope' });
    expect(refusal).toBeInstanceOf(SplitplaneError);
    expect(refusal.code).toBe('MESSAGE_INVALID');
    expect(refusal.message).toContain('SOAP 1.1');
    expect(refusal.fault.code).toBe('VersionMismatch');
    expect(refusal.fault.headers[0]?.is(SOAP, 'Upgrade')).toBe(true);
  });

  test('a fault of a peer becomes an error with the code FAULT', () => {
    const error = new FaultError(SoapFault.dssp('PermissionDenied', 'Not yours.'));
    expect(error.code).toBe('FAULT');
    expect(error.name).toBe('FaultError');
    expect(error.message).toContain('PermissionDenied: Not yours.');
  });
});
