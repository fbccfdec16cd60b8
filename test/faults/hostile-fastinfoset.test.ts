// Hostile Fast Infoset over the wire: whoever sends it gets a SOAP fault, and the connection and everybody on it live on.
import { describe, expect, test } from 'vitest';
import { element, FastInfosetSerializer, type Envelope, type Serializer } from '../../lib/index.js';
import { SOAP_11, WSA } from '../../lib/soap/namespaces.js';
import { until } from '../support/events.js';
import {
  ACTION,
  attribute,
  bytes,
  chunk,
  declaring,
  element as spelled,
  elementWith,
  END,
  MAGIC,
  soap,
  start,
  string,
  withBody,
} from '../support/fastinfoset.js';
import { envelope, makePair, take, valueOf } from '../support/managers.js';
import { TCP } from '../support/transports.js';

/** Sends octets as they are: the body's text, in base64, instead of the envelope, when the action says so. */
class RawSerializer implements Serializer {
  readonly name = 'fastinfoset';
  readonly contentType = 'application/soap+fastinfoset';
  readonly #real = new FastInfosetSerializer();

  encode(message: Envelope): Uint8Array {
    return message.action === 'urn:raw'
      ? Buffer.from(message.body[0]?.text() ?? '', 'base64')
      : this.#real.encode(message);
  }
  encodeInto(message: Envelope, target: Buffer, offset: number): number {
    const encoded = this.encode(message);
    target.set(encoded, offset);
    return encoded.length;
  }
  decodeHeader(encoded: Uint8Array): Envelope {
    return this.#real.decodeHeader(encoded);
  }
}

const raw = (document: Buffer): Envelope =>
  envelope('', { action: 'urn:raw', body: element('', 'Raw', document.toString('base64')) });
const many = (count: number, make: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => make(index)).join('');
const deep = many(20_000, () => start('d')) + END.repeat(20_000);
const id = `${start('MessageID', WSA, 'a')}${chunk('urn:id:1')}${END}`;

/** Each is refused by its header, and the fault is answered at once. */
const IN_HEADER: readonly (readonly [string, string, Buffer])[] = [
  ['nothing', 'Sender', bytes('')],
  ['text XML', 'Sender', bytes('<s:Envelope/>')],
  ['a document cut off', 'Sender', soap(ACTION).subarray(0, 120)],
  ['a length of 2^32', 'Sender', soap(`${ACTION}${spelled('x', '\x83\xff\xff\xff\xff')}`)],
  ['an index of 2^20', 'Sender', soap(`${ACTION}\x30\x0f\xff\xff`)],
  [
    'a text again and again',
    'Sender',
    soap(ACTION + spelled('x', `\x92\xff${'y'.repeat(258)}${'\xa0'.repeat(20_000)}`)),
  ],
  ['a table of 2^20 entries', 'Sender', bytes(`${MAGIC}\x20\x00\x80\x8f\xff\xff`)],
  ['another vocabulary', 'Sender', soap(ACTION, '', `\x20\x10\x00${string('urn:other')}`)],
  ['a document type declaration', 'Sender', soap(`${ACTION}\xc4\xf0`)],
  ['an unexpanded entity', 'Sender', soap(`${ACTION}${spelled('x', `\xc8${string('lol')}`)}`)],
  ['depth 20,000', 'Sender', soap(ACTION + deep)],
  [
    '5,000 attributes',
    'Sender',
    soap(
      ACTION +
        elementWith(
          't',
          many(5000, (at) => attribute(`a${at}`)),
        ),
    ),
  ],
  ['duplicate MessageID', 'Sender', soap(ACTION + id + id)],
  ['no action', 'Sender', soap(id)],
  [
    'unknown mustUnderstand',
    'MustUnderstand',
    soap(
      ACTION +
        elementWith('N', attribute('mustUnderstand', '1', 'http://www.w3.org/2003/05/soap-envelope', 'e')),
    ),
  ],
  [
    'SOAP 1.1',
    'VersionMismatch',
    bytes(`${MAGIC}\x00${declaring({ e: SOAP_11 }, start('Envelope', SOAP_11, 'e'))}${END}${END}`),
  ],
];

describe('Fast Infoset', () => {
  test.each(IN_HEADER)('%s is answered with a fault: %s', async (_, faultCode, document) => {
    const { server, client, outgoing } = await makePair(TCP, {
      client: { serializers: [new RawSerializer()] },
    });
    expect(outgoing.encoding).toBe('fastinfoset');
    await outgoing.send(raw(document));
    const answer = await take(client);
    expect(answer.fault?.code).toBe(faultCode);
    expect(answer.fault?.reason.length).toBeGreaterThan(10);
    expect(server.connections[0]?.facts.inbox.refused).toBe(1);
    await outgoing.send(envelope('and on it goes'));
    expect(valueOf(await take(server))).toBe('and on it goes');
  });

  // Goal: what is wrong in the body is found by whoever reads the body, typed and with the fault to answer; the header
  // was good, so the message is delivered.
  test('a malformed body is the reader’s to refuse', async () => {
    const { server, outgoing } = await makePair(TCP, { client: { serializers: [new RawSerializer()] } });
    await outgoing.send(raw(withBody(deep)));
    const message = await take(server);
    expect(message.envelope.action).toBe('urn:act');
    expect(() => message.envelope.body).toThrow(/nested deeper/);
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
    const sends = Array.from({ length: 1000 }, () => outgoing.send(raw(bytes('\xe0'))));
    for (let i = 0; i < 1000; i++) expect((await take(client)).fault?.code).toBe('Sender');
    await Promise.all(sends);
    await until(() => server.connections[0]?.facts.inbox.refused === 1000);
    await outgoing.send(envelope('next'));
    expect(valueOf(await take(server))).toBe('next');
  });
});
