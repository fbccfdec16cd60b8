// Proves WS-Addressing 1.0: properties to blocks and back, the cardinality rules, reference parameters, and SOAP's rules
// for mandatory header blocks.

import { describe, expect, test } from 'vitest';
import {
  addressingBlocks,
  AddressingReader,
  ANONYMOUS,
  referenceParameterBlocks,
  refuseNotUnderstood,
  type Addressing,
} from '../../lib/soap/addressing.js';
import { MessageRefusedError } from '../../lib/soap/fault.js';
import { attribute, element, type XmlElement } from '../../lib/soap/infoset.js';
import { REFERENCES, SOAP, WSA } from '../../lib/soap/namespaces.js';

function read(blocks: readonly XmlElement[]): Addressing {
  const reader = new AddressingReader();
  for (const block of blocks) reader.accept(block);
  return reader.finish();
}

function refusal(run: () => unknown): MessageRefusedError {
  try {
    run();
  } catch (error) {
    if (error instanceof MessageRefusedError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const wsa = (name: string, content: Parameters<typeof element>[2] = 'urn:example:1') =>
  element(WSA, name, content);
const action = wsa('Action');

describe('properties', () => {
  test('are the same after they were header blocks', () => {
    const properties: Addressing = {
      to: 'tcp://a:1/x',
      action: 'urn:act',
      messageId: 'urn:uuid:1',
      relatesTo: 'urn:uuid:0',
      replyTo: { address: 'tcp://b:1', referenceParameters: [element('urn:x', 'Key', '7')] },
      faultTo: { address: 'tcp://c:1', referenceParameters: [] },
    };
    expect(read(addressingBlocks(properties))).toEqual(properties);
  });

  test('To is anonymous when absent, white space around a URI does not count', () => {
    expect(read([wsa('Action', '\n urn:act ')])).toMatchObject({ to: ANONYMOUS, action: 'urn:act' });
  });

  test('a RelatesTo with another relationship is left to others', () => {
    const other = element(WSA, 'RelatesTo', 'urn:uuid:0', {
      attributes: { RelationshipType: 'urn:follows' },
    });
    expect(new AddressingReader().accept(other)).toBe(false);
  });

  test('a block for another role is left to others', () => {
    const role = (value: string) =>
      element(WSA, 'To', 'urn:x', { qualifiedAttributes: [attribute('role', value, SOAP)] });
    expect(new AddressingReader().accept(role(`${SOAP}/role/none`))).toBe(false);
    expect(new AddressingReader().accept(role('urn:example:cache'))).toBe(false);
    expect(new AddressingReader().accept(role(`${SOAP}/role/next`))).toBe(true);
    expect(new AddressingReader().accept(role(`${SOAP}/role/ultimateReceiver`))).toBe(true);
  });
});

describe('faults', () => {
  const epr = wsa('x', [wsa('Address')]).children;
  test.each(['To', 'Action', 'MessageID', 'RelatesTo'])('two %s blocks are InvalidCardinality', (name) => {
    const { fault } = refusal(() => read([wsa(name), wsa(name)]));
    expect(fault.code).toBe('Sender');
    expect(fault.subcodes.map((code) => code.localName)).toEqual([
      'InvalidAddressingHeader',
      'InvalidCardinality',
    ]);
    expect(fault.detail[0]?.text()).toBe(`wsa:${name}`);
  });

  test.each(['ReplyTo', 'FaultTo'])('two %s blocks are InvalidCardinality', (name) => {
    const { fault } = refusal(() => read([action, wsa(name, epr), wsa(name, epr)]));
    expect(fault.hasSubcode(WSA, 'InvalidCardinality')).toBe(true);
  });

  test('an endpoint reference has exactly one Address', () => {
    expect(refusal(() => read([wsa('ReplyTo', [])])).fault.hasSubcode(WSA, 'MissingAddressInEPR')).toBe(true);
    expect(
      refusal(() => read([wsa('ReplyTo', [wsa('Address', ' ')])])).fault.hasSubcode(
        WSA,
        'MissingAddressInEPR',
      ),
    ).toBe(true);
    expect(
      refusal(() => read([wsa('ReplyTo', [...epr, ...epr])])).fault.hasSubcode(WSA, 'InvalidCardinality'),
    ).toBe(true);
  });

  test('a header without Action, or with an empty one, is refused', () => {
    expect(refusal(() => read([wsa('To')])).fault.hasSubcode(WSA, 'MessageAddressingHeaderRequired')).toBe(
      true,
    );
    expect(refusal(() => read([wsa('Action', '')])).fault.hasSubcode(WSA, 'InvalidAddressingHeader')).toBe(
      true,
    );
  });

  test.each([WSA, REFERENCES])(
    'reference parameters cannot smuggle blocks of %s into an answer',
    (namespace) => {
      const parameters = wsa('ReferenceParameters', [element(namespace, 'To', 'urn:victim')]);
      const replyTo = wsa('ReplyTo', [wsa('Address'), parameters]);
      expect(refusal(() => read([action, replyTo])).fault.hasSubcode(WSA, 'InvalidAddressingHeader')).toBe(
        true,
      );
    },
  );
});

test('reference parameters are marked as such, once', () => {
  const key = element('urn:x', 'Key', '7', { attributes: { a: '1' } });
  const once = referenceParameterBlocks({ address: 'urn:a', referenceParameters: [key] });
  const [twice] = referenceParameterBlocks({ address: 'urn:a', referenceParameters: once });
  expect(twice?.attributes).toHaveLength(2);
  expect(twice?.attribute('IsReferenceParameter', WSA)).toBe('true');
  expect(twice?.text()).toBe('7');
});

describe('mandatory header blocks', () => {
  const block = (value: string, role?: string) =>
    element('urn:example:ext', 'Security', [], {
      qualifiedAttributes: [
        attribute('mustUnderstand', value, SOAP),
        ...(role === undefined ? [] : [attribute('role', role, SOAP)]),
      ],
    });

  // Goal: the fault is short enough to be sent, however many there are.
  test('of many the fault names a few, and how many more there are', () => {
    const { fault } = refusal(() =>
      refuseNotUnderstood(Array<XmlElement>(5000).fill(block('1')), () => false),
    );
    expect(fault.headers).toHaveLength(8);
    expect(fault.reason).toMatch(/Security and 4992 more\. /);
  });

  test('one that nobody understands is a MustUnderstand fault that names it', () => {
    const { fault } = refusal(() => refuseNotUnderstood([block('1')], () => false));
    expect(fault.code).toBe('MustUnderstand');
    const [header] = fault.headers;
    expect(header?.is(SOAP, 'NotUnderstood')).toBe(true);
    expect(header?.resolveQName(header.attribute('qname') ?? '')).toEqual({
      namespace: 'urn:example:ext',
      localName: 'Security',
    });
  });

  test('optional, understood and foreign blocks pass', () => {
    refuseNotUnderstood([block('0'), block('false'), element('urn:x', 'Y')], () => false);
    refuseNotUnderstood([block('true')], (name) => name.localName === 'Security');
    refuseNotUnderstood([block('true', 'urn:example:cache')], () => false);
  });

  test('a mustUnderstand that is no boolean is refused', () => {
    expect(refusal(() => refuseNotUnderstood([block('yes')], () => true)).fault.code).toBe('Sender');
  });
});
