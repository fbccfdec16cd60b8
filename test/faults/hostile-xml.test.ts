// Hostile XML over the wire: whoever sends it gets a SOAP fault, and the connection and everybody on it live on.
import { describe, expect, test } from 'vitest';
import { element, XmlSerializer, type Envelope, type Serializer } from '../../lib/index.js';
import { until } from '../support/events.js';
import { envelope, makePair, take, valueOf } from '../support/managers.js';
import { TCP } from '../support/transports.js';

const SOAP = 'http://www.w3.org/2003/05/soap-envelope';
const WSA = 'http://www.w3.org/2005/08/addressing';
const ACTION = `<a:Action>urn:x</a:Action>`;
const ID = `<a:MessageID>urn:id:1</a:MessageID>`;

function soap(header: string, body = '', before = ''): string {
  return `${before}<s:Envelope xmlns:s="${SOAP}" xmlns:a="${WSA}"><s:Header>${header}</s:Header><s:Body>${body}</s:Body></s:Envelope>`;
}

/** Sends bytes as they are: the body's text instead of the envelope, when the action says so. */
class RawSerializer implements Serializer {
  readonly name = 'xml';
  readonly contentType = 'application/soap+xml';
  readonly #xml = new XmlSerializer();

  encode(message: Envelope): Uint8Array {
    return message.action === 'urn:raw'
      ? Buffer.from(message.body[0]?.text() ?? '', 'latin1')
      : this.#xml.encode(message);
  }
  encodeInto(message: Envelope, target: Buffer, offset: number): number {
    const bytes = this.encode(message);
    target.set(bytes, offset);
    return bytes.length;
  }
  decodeHeader(bytes: Uint8Array): Envelope {
    return this.#xml.decodeHeader(bytes);
  }
}

const lol = Array.from({ length: 9 }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`).join('');

/** Each is refused by its header, and the fault is answered at once. */
const IN_HEADER: readonly (readonly [string, string, string])[] = [
  ['a DTD', 'Sender', soap(ACTION, '', '<!DOCTYPE x>')],
  ['an entity bomb', 'Sender', soap(`${ACTION}&l9;`, '', `<!DOCTYPE x [<!ENTITY l0 "lol">${lol}]>`)],
  [
    'an external entity',
    'Sender',
    soap(ACTION, '&e;', '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
  ],
  ['depth 20,000', 'Sender', soap(`${ACTION}${'<d>'.repeat(20_000)}${'</d>'.repeat(20_000)}`)],
  [
    '20,000 attributes',
    'Sender',
    soap(`${ACTION}<t ${Array.from({ length: 20_000 }, (_, i) => `a${i}="1"`).join(' ')}/>`),
  ],
  ['duplicate MessageID', 'Sender', soap(`${ACTION}${ID}${ID}`)],
  ['no action', 'Sender', soap(ID)],
  ['unknown mustUnderstand', 'MustUnderstand', soap(`${ACTION}<x:N xmlns:x="urn:n" s:mustUnderstand="1"/>`)],
  ['SOAP 1.1', 'VersionMismatch', soap(ACTION).replaceAll(SOAP, 'http://schemas.xmlsoap.org/soap/envelope/')],
  ['not XML', 'Sender', 'hello'],
  ['nothing but white space', 'Sender', ' \n '],
  ['not UTF-8', 'Sender', soap(`${ACTION}<t>\xff\xfe</t>`)],
  [
    'a reference that the frame does not bring',
    'Sender',
    soap(
      `${ACTION}<r:References xmlns:r="urn:splitplane:references:1"><r:Reference cid="a" length="5" access="read"/></r:References>`,
    ),
  ],
  [
    'a reference with a forged tag and none in the frame',
    'Sender',
    soap(
      `${ACTION}<r:References xmlns:r="urn:splitplane:references:1"><r:Reference cid="a" tag="${'A'.repeat(43)}" length="5" access="read"/></r:References>`,
    ),
  ],
];

describe('XML', () => {
  test.each(IN_HEADER)('%s is answered with a fault: %s', async (_, faultCode, text) => {
    const { server, client, outgoing } = await makePair(TCP, {
      client: { serializers: [new RawSerializer()] },
    });
    await outgoing.send(envelope('', { action: 'urn:raw', body: element('', 'Raw', text) }));
    const answer = await take(client);
    expect(answer.fault?.code).toBe(faultCode);
    expect(answer.fault?.reason.length).toBeGreaterThan(10);
    expect(answer.envelope.relatesTo).toBeUndefined();
    expect(server.connections[0]?.facts.inbox.refused).toBe(1);
    await outgoing.send(envelope('and on it goes'));
    expect(valueOf(await take(server))).toBe('and on it goes');
  });

  // Goal: what is wrong in the body is found by whoever reads the body, typed and with the fault to answer; the header
  // was good, so the message is delivered.
  test('a malformed body is the reader’s to refuse', async () => {
    const { server, outgoing } = await makePair(TCP, { client: { serializers: [new RawSerializer()] } });
    const bad = soap(ACTION, `${'<d>'.repeat(20_000)}${'</d>'.repeat(20_000)}`);
    await outgoing.send(envelope('', { action: 'urn:raw', body: element('', 'Raw', bad) }));
    const message = await take(server);
    expect(message.envelope.action).toBe('urn:x');
    expect(() => message.envelope.body).toThrow(/./);
    message.release();
    await outgoing.send(envelope('next'));
    expect(valueOf(await take(server))).toBe('next');
  });

  // Goal: answers to nonsense do not make more nonsense: 1,000 bad messages, 1,000 faults, and both sides idle.
  test('1,000 bad messages cost no credit', async () => {
    const { server, client, outgoing } = await makePair(TCP, {
      server: { windowMessages: 8 },
      client: { serializers: [new RawSerializer()] },
    });
    const sends = Array.from({ length: 1000 }, () =>
      outgoing.send(envelope('', { action: 'urn:raw', body: element('', 'Raw', '<x') })),
    );
    for (let i = 0; i < 1000; i++) expect((await take(client)).fault?.code).toBe('Sender');
    await Promise.all(sends);
    await until(() => server.connections[0]?.facts.inbox.refused === 1000);
    await outgoing.send(envelope('next'));
    expect(valueOf(await take(server))).toBe('next');
  });
});
