// Proves that an envelope keeps what it was built from, addresses its answers as asked, reads its body once and only when
// asked, and makes message ids that do not repeat.

import { describe, expect, test, vi } from 'vitest';
import { ANONYMOUS, NONE } from '../../lib/soap/addressing.js';
import { Envelope } from '../../lib/soap/envelope.js';
import { MessageRefusedError, SoapFault } from '../../lib/soap/fault.js';
import { element } from '../../lib/soap/infoset.js';
import { newMessageId } from '../../lib/soap/message-id.js';
import { REFERENCES, SOAP, WSA } from '../../lib/soap/namespaces.js';
import { include, type Reference } from '../../lib/soap/references.js';

const reference: Reference = { cid: 'a', tag: 'A'.repeat(43), lengthBytes: 1, access: 'read' };

describe('building', () => {
  test('fills in what every message has', () => {
    const envelope = Envelope.of({ action: 'urn:act', body: element('urn:x', 'Y') });
    expect(envelope.to).toBe(ANONYMOUS);
    expect(envelope.messageId).toMatch(/^urn:uuid:/);
    expect(envelope.body).toHaveLength(1);
    expect(envelope.references).toEqual([]);
    expect(envelope.fault).toBeUndefined();
  });

  test('its header as infoset reads back as the same properties', () => {
    const envelope = Envelope.of({
      action: 'urn:act',
      to: 'tcp://a:1',
      replyTo: 'tcp://b:1',
      references: [reference],
      headers: [element('urn:x', 'Trace', '1')],
    });
    const read = Envelope.fromInfoset(envelope.blocks, () => []);
    const { to, action, messageId, replyTo, references, headers } = read;
    expect({ to, action, messageId, replyTo, references, headers }).toEqual({
      to: envelope.to,
      action: envelope.action,
      messageId: envelope.messageId,
      replyTo: envelope.replyTo,
      references: envelope.references,
      headers: envelope.headers,
    });
  });

  test.each([
    ['an addressing block among the headers', { headers: [element(WSA, 'To', 'urn:x')] }],
    ['a references block among the headers', { headers: [element(REFERENCES, 'References')] }],
    ['a reference that is none', { references: [{ ...reference, lengthBytes: -1 }] }],
    ['an empty address', { to: '' }],
    ['white space around an id', { messageId: ' urn:x' }],
    ['an empty reply address', { replyTo: '' }],
  ])('refuses %s', (_what, init) => {
    expect(() => Envelope.of({ action: 'urn:act', ...init })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }) as Error,
    );
  });

  test('references can be replaced without touching body or other headers', () => {
    const trace = element('urn:x', 'Trace');
    const built = Envelope.of({ action: 'urn:act', headers: [trace], body: element('urn:x', 'Y') });
    const arrived = Envelope.fromInfoset(built.withReferences([reference]).blocks, () => built.body);
    for (const envelope of [built, arrived]) {
      const changed = envelope.withReferences([{ ...reference, cid: 'b' }]);
      expect(changed.references.map(({ cid }) => cid)).toEqual(['b']);
      expect(changed.blocks.filter((block) => block.is(REFERENCES, 'References'))).toHaveLength(1);
      expect(changed.headers).toEqual([trace]);
      expect(changed.body).toBe(envelope.body);
      expect(changed.withReferences([]).blocks.some((block) => block.is(REFERENCES, 'References'))).toBe(
        false,
      );
    }
  });
});

describe('answers', () => {
  const key = element('urn:x', 'Key', '7');
  const request = Envelope.of({
    action: 'urn:act',
    replyTo: { address: 'tcp://reply:1', referenceParameters: [key] },
    faultTo: 'tcp://fault:1',
  });

  test('a reply goes where ReplyTo says, with its reference parameters, and names the request', () => {
    const reply = request.reply({ action: 'urn:act:reply' });
    expect(reply.to).toBe('tcp://reply:1');
    expect(reply.relatesTo).toBe(request.messageId);
    expect(reply.headers[0]?.attribute('IsReferenceParameter', WSA)).toBe('true');
    expect(Envelope.of({ action: 'urn:act' }).reply({ action: 'urn:r' }).to).toBe(ANONYMOUS);
  });

  test('a fault goes where FaultTo says, else where ReplyTo says, with the action of its kind', () => {
    const fault = request.replyFault(SoapFault.dssp('OperationFailed', 'No.'));
    expect(fault.to).toBe('tcp://fault:1');
    expect(fault.action).toBe(`${WSA}/soap/fault`);
    expect(
      fault.fault?.hasSubcode(
        SoapFault.dssp('OperationFailed', '').subcodes[0]?.namespace ?? '',
        'OperationFailed',
      ),
    ).toBe(true);
    const noFaultTo = Envelope.of({ action: 'urn:act', replyTo: 'tcp://reply:1' });
    expect(noFaultTo.replyFault(SoapFault.dssp('OperationFailed', 'No.')).to).toBe('tcp://reply:1');
  });

  test('a fault that WS-Addressing prescribes has the action WS-Addressing prescribes', () => {
    let refusal: unknown;
    try {
      Envelope.fromInfoset([], () => []);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(MessageRefusedError);
    if (refusal instanceof MessageRefusedError) {
      expect(Envelope.fault(refusal.fault).action).toBe(`${WSA}/fault`);
    }
  });

  test('header blocks of a fault travel in the header and come back into the fault', () => {
    const { fault } = MessageRefusedError.versionMismatch({ namespace: 'urn:x', localName: 'Y' });
    const envelope = Envelope.fault(fault);
    expect(envelope.headers[0]?.is(SOAP, 'Upgrade')).toBe(true);
    expect(envelope.fault?.headers).toEqual(fault.headers);
  });

  test('a request may ask for no reply', () => {
    expect(Envelope.of({ action: 'urn:act', replyTo: NONE }).wantsNoReply).toBe(true);
    expect(request.wantsNoReply).toBe(false);
  });
});

describe('a body that arrived', () => {
  const header = Envelope.of({ action: 'urn:act', references: [reference] }).blocks;

  test('is read when first asked for, once', () => {
    const read = vi.fn(() => [element('urn:x', 'Y', include('a'))]);
    const envelope = Envelope.fromInfoset(header, read);
    expect(envelope.action).toBe('urn:act');
    expect(read).not.toHaveBeenCalled();
    expect(envelope.body).toBe(envelope.body);
    expect(read).toHaveBeenCalledTimes(1);
  });

  test('that points at an unlisted buffer is refused, each time', () => {
    const envelope = Envelope.fromInfoset(header, () => [include('b')]);
    expect(() => envelope.body).toThrow(MessageRefusedError);
    expect(() => envelope.body).toThrow(MessageRefusedError);
  });
});

test('two references blocks are refused', () => {
  const { blocks } = Envelope.of({ action: 'urn:act', references: [reference] });
  const doubled = [...blocks, ...blocks.filter((block) => block.is(REFERENCES, 'References'))];
  expect(() => Envelope.fromInfoset(doubled, () => [])).toThrow(/two sp:References/);
});

test('message ids are random UUIDs and do not repeat', () => {
  const ids = new Set(Array.from({ length: 10_000 }, newMessageId));
  expect(ids.size).toBe(10_000);
  for (const id of ids)
    expect(id).toMatch(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});
