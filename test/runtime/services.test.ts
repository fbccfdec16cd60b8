// Services and what they are asked, from beside them and from another runtime over TCP: the same calls, the same results, and the same
// refusals, because a service cannot tell where its callers are, nor they where it is.
import { describe, expect, test } from 'vitest';
import { element, Envelope, type XmlElement } from '../../lib/index.js';
import { body, buffer, contract, integer, lend, Submit, type Proxy } from '../../lib/runtime/index.js';
import { DSSP } from '../../lib/soap/namespaces.js';
import { failure, until } from '../support/events.js';
import { filledBuffer, logOf, pattern, PLACES, subcode, type Place } from '../support/runtimes.js';
import { Everything, EverythingService, SECRET } from './services/everything.js';

/** Goes inside a control frame, and does not. */
const SIZES = [1000, 300_000];

interface Have extends Place {
  readonly service: EverythingService;
  readonly proxy: Proxy<typeof Everything>;
}

describe.each(PLACES)('$name', (at) => {
  async function serve(): Promise<Have> {
    const place = await at.start();
    const service = new EverythingService();
    const uri = await place.home.add(service, { name: 'everything' });
    return { ...place, service, proxy: place.away.proxy(Everything, uri) };
  }

  test('every verb does what DSSP says, and says no as DSSP says', async () => {
    const { proxy } = await serve();
    expect(await proxy.create({ key: 'a/1' })).toEqual({ count: 1 });
    expect(await proxy.insert({ key: 'b', value: 2 })).toEqual({ count: 2 });
    expect(await subcode(proxy.insert({ key: 'b', value: 3 }))).toBe('DuplicateEntry');
    expect(await proxy.update({ key: 'b', value: 4 })).toEqual({ count: 2 });
    expect(await subcode(proxy.update({ key: 'c', value: 4 }))).toBe('UnknownEntry');
    expect(await proxy.upsert({ key: 'b', value: 5 })).toEqual({ count: 2 });
    expect(await proxy.upsert({ key: 'a/2', value: -6 })).toEqual({ count: 3 });
    expect(await proxy.query({ prefix: 'a/' })).toEqual({
      entries: [
        { key: 'a/1', value: 0 },
        { key: 'a/2', value: -6 },
      ],
    });
    expect(await proxy.delete({ key: 'a/1' })).toEqual({ count: 2 });
    expect(await subcode(proxy.delete({ key: 'a/1' }))).toBe('UnknownEntry');
    expect(await proxy.all()).toEqual({
      entries: [
        { key: 'b', value: 5 },
        { key: 'a/2', value: -6 },
      ],
    });
    expect(await proxy.replace({ entries: [] })).toEqual({ count: 0 });
    expect(await proxy.all({})).toEqual({ entries: [] });
    expect(await proxy.nothing()).toEqual({});
  });

  test('what every service answers by itself: Lookup, Get of its state, Drop', async () => {
    const { home, proxy } = await serve();
    const told = await proxy.$lookup();
    expect(told).toMatchObject({ uri: proxy.$uri, contract: Everything.uri, state: 'EverythingState' });
    expect(told.operations).toHaveLength(Object.keys(Everything.operations).length);
    expect(told.operations).toContainEqual({ name: 'insert', verb: 'Insert', body: 'Insert' });
    expect(told.notifications).toEqual([{ name: 'changed', body: 'Changed' }]);
    expect(await proxy.$state()).toEqual({ entries: [], label: 'fresh' });
    await proxy.upsert({ key: 'a', value: 1 });
    expect(await proxy.$state()).toEqual({ entries: [{ key: 'a', value: 1 }] });
    await proxy.$drop();
    expect(await subcode(proxy.nothing())).toBe('UnknownEntry');
    expect(home.snapshot().services.map(({ uri }) => uri)).not.toContain(proxy.$uri);
  });

  test('fields of every kind arrive as they were sent', async () => {
    const { proxy } = await serve();
    const any = element('urn:other', 'Any', [element('', 'plain', ' a < b '), 'mixed'], {
      attributes: { at: 'tribute "\'' },
    });
    const sent = {
      words: ' <&>\r\n\t"\u{1F600} ',
      whole: Number.MIN_SAFE_INTEGER,
      ratio: -0.1e-300,
      yes: false,
      few: Buffer.from([0, 255, 128]),
      colour: 'green' as const,
      nested: { inner: { key: '', value: 0 }, numbers: [3, 2, 1] },
      pairs: [],
      any,
    };
    const got = await proxy.echo(sent);
    expect({ ...got, any: undefined, few: [...got.few] }).toEqual({
      ...sent,
      any: undefined,
      few: [0, 255, 128],
    });
    expect(plain(got.any)).toEqual(plain(any));
    const other = {
      ...sent,
      words: '',
      ratio: -Infinity,
      maybe: '',
      nested: { numbers: [] },
      few: Buffer.alloc(0),
    };
    const again = await proxy.echo({ ...other, pairs: [{ key: 'k', value: 1 }] });
    expect(again).toMatchObject({ words: '', ratio: -Infinity, maybe: '', pairs: [{ key: 'k', value: 1 }] });
    expect(again.nested).toEqual({ numbers: [] });
    expect(again.few).toHaveLength(0);
  });

  test.each(SIZES)(
    'a buffer of %d bytes that is given is gone, and comes back the same way',
    async (length) => {
      const { away, service, proxy } = await serve();
      const mine = filledBuffer(away, length, 3);
      const expected = pattern(length, 3);
      expect(await proxy.keep({ pixels: mine })).toEqual({ length, first: expected[0] });
      expect(service.kept?.bytes.equals(expected)).toBe(true);
      using taken = await proxy.take();
      expect(taken.pixels).toMatchObject({ length, access: 'read' });
      const got = await taken.pixels.resolve();
      expect(got.bytes.equals(expected)).toBe(true);
      got.release();
      expect(service.kept).toBeUndefined();
    },
  );

  test.each(SIZES)('a buffer of %d bytes that is lent comes back once it has been read', async (length) => {
    const { home, away, service, proxy } = await serve();
    const [mine, other] = [filledBuffer(away, length, 3), filledBuffer(away, length, 4)];
    const returned: string[] = [];
    const bytes = Buffer.concat([pattern(length, 3), pattern(length, 4)]);
    const sum = (from: number, to: number): number =>
      bytes.subarray(from, to).reduce((all, byte) => all + byte, 0);
    const parts = [
      lend(mine, 'read', () => returned.push('whole')),
      lend([mine, other.slice(0, 500)], 'read', () => returned.push('pieces')),
    ];
    const last = lend(other.slice(100, 700), 'read', () => returned.push('slice'));
    const one = sum(200, 600);
    const answer = await proxy.sum({ offset: 200, length: 400, parts, last });
    expect(answer).toEqual({ sum: 2 * one + sum(length + 300, length + 700) });
    await until(() => returned.length === 3);
    expect(returned.sort()).toEqual(['pieces', 'slice', 'whole']);
    for (const each of [mine, other]) {
      expect(each.released).toBe(false);
      each.release();
    }
    // And the same in the other direction: what a service lends with its answer.
    service.kept = filledBuffer(home, length, 5);
    const looked = await proxy.look();
    using seen = await looked.pixels.resolve();
    expect(seen.bytes.equals(pattern(length, 5))).toBe(true);
    seen.release();
    looked[Symbol.dispose]();
    await until(() => service.returned === 1);
    // Even if nobody looks.
    (await proxy.look())[Symbol.dispose]();
    await until(() => service.returned === 2);
    expect(service.kept.bytes.equals(pattern(length, 5))).toBe(true);
    service.kept.release();
  });

  test.each(SIZES)('memory of %d bytes that is lent for writing is written', async (length) => {
    const { away, proxy } = await serve();
    const mine = filledBuffer(away, length + 10, 3);
    let returned = 0;
    await proxy.fill({ value: 7, into: lend(mine.slice(5, length), 'write', () => returned++) });
    await until(() => returned === 1);
    expect(mine.bytes.subarray(5, length + 5).every((byte) => byte === 7)).toBe(true);
    expect(mine.bytes.subarray(0, 5)).toEqual(pattern(length + 10, 3).subarray(0, 5));
    expect(mine.bytes.subarray(length + 5)).toEqual(pattern(length + 10, 3).subarray(length + 5));
    // What is lent for one is not to be had for the other, and comes back all the same.
    const reading = lend(mine, 'read', () => returned++);
    expect(await subcode(proxy.fill({ value: 7, into: reading }))).toBe('OperationFailed');
    const writing = lend(mine, 'write', () => returned++);
    expect(await subcode(proxy.sum({ offset: 0, length: 1, parts: [writing] }))).toBe('OperationFailed');
    await until(() => returned === 3);
    mine.release();
  });

  test('a buffer that nobody resolves is given back, whatever becomes of the message', async () => {
    const { away, proxy } = await serve();
    const give = () => away.allocate(300_000);
    let returned = 0;
    const lent = away.allocate(300_000);
    const lending = () => lend(lent, 'read', () => returned++);
    // Nobody is there; the service does not know it; the range is none; it is not what the contract says.
    const nobody = away.proxy(Everything, `${proxy.$uri}/nobody`);
    for (const each of [give(), lending()]) {
      expect(await subcode(nobody.keep({ pixels: each }))).toBe('UnknownEntry');
    }
    for (const each of [give(), lending()]) {
      const parts = { offset: 300_000, length: 1, parts: [each] };
      expect(await subcode(proxy.sum(parts))).toBe('OperationFailed');
    }
    const similar = contract(Everything.uri, {
      operations: { keep: Submit(body('Remember', { pixels: buffer() })) },
    });
    for (const each of [give(), lending()]) {
      const remembered = away.proxy(similar, proxy.$uri).keep({ pixels: each });
      expect(await subcode(remembered)).toBe('MessageNotSupported');
    }
    await until(() => returned === 3);
    // What cannot even be sent is still its owner's.
    const released = give();
    released.release();
    expect((await failure(proxy.keep({ pixels: released }))).code).toBe('REGION_RELEASED');
    const mine = give();
    expect((await failure(proxy.keep({ pixels: 5 as never }))).code).toBe('INVALID_ARGUMENT');
    const twice = proxy.sum({ offset: 0, length: 1, parts: [mine, mine] });
    expect((await failure(twice)).code).toBe('INVALID_ARGUMENT');
    const outside = lend({ buffer: mine, offset: 1, length: mine.length });
    expect((await failure(proxy.keep({ pixels: outside }))).code).toBe('INVALID_ARGUMENT');
    expect(mine.released).toBe(false);
    mine.release();
    lent.release();
  });

  test('a failed attempt to resolve does not use a buffer up', async () => {
    const { home, service, proxy } = await serve();
    service.kept = filledBuffer(home, 300_000, 5);
    using answer = await proxy.take();
    const { pixels } = answer;
    expect((await failure(pixels.resolve({ into: new Uint8Array(5) }))).code).toBe('INVALID_ARGUMENT');
    expect((await failure(pixels.resolve({ range: { offset: 1, length: 300_000 } }))).code).toBe(
      'INVALID_ARGUMENT',
    );
    expect((await failure(pixels.resolve({ range: { offset: 5, length: 0 } }))).code).toBe(
      'INVALID_ARGUMENT',
    );
    expect((await failure(pixels.resolve({ signal: AbortSignal.abort() }))).code).toBe('ABORTED');
    using part = await pixels.resolve({ range: { offset: 1000, length: 2000 } });
    expect(part.bytes.equals(pattern(300_000, 5).subarray(1000, 3000))).toBe(true);
    // Once.
    expect((await failure(pixels.resolve())).code).toMatch(/TAG_EXHAUSTED|TAG_UNKNOWN/);
  });

  test('faults have their subcodes, and strangers’ errors keep their text', async () => {
    const { home, proxy } = await serve();
    expect(await subcode(proxy.fail({ how: 'fault' }))).toBe('InsufficientResources');
    const told = await failure(proxy.fail({ how: 'fault' }));
    expect(told.message).toContain('There is no room. Remove something.');
    for (const how of ['stranger', 'weird'] as const) {
      const error = await failure(proxy.fail({ how }));
      expect(await subcode(Promise.reject(error))).toBe('OperationFailed');
      expect(error.message).not.toContain(SECRET);
    }
    expect((await failure(proxy.fail({ how: 'known' }))).message).toContain('INVALID_ARGUMENT');
    const partner = await failure(proxy.fail({ how: 'partner' }));
    expect(partner.message).toContain('UnknownEntry');
    // Who runs it finds the text in the log.
    const errors = logOf(home).filter(({ level }) => level === 'error');
    expect(errors.some(({ text }) => text.includes(SECRET))).toBe(true);
    expect(await proxy.nothing()).toEqual({});
  });

  test('unknown services, verbs and bodies are refused as such', async () => {
    const { away, proxy } = await serve();
    const to = proxy.$uri;
    const ask = async (action: string, body?: XmlElement | readonly XmlElement[], uri = to) => {
      const answer = await away.client.send(Envelope.of({ to: uri, action, ...(body ? { body } : {}) }), []);
      const { fault } = answer.envelope;
      answer.release();
      return fault?.subcodes.at(-1)?.localName ?? 'answered';
    };
    const { uri } = Everything;
    const key = element(uri, 'key', 'k');
    const value = element(uri, 'value', '1');
    const insert = (...content: XmlElement[]) => element(uri, 'Insert', content);
    const good = insert(key, value);
    expect(await ask(`${DSSP}:InsertRequest`, good)).toBe('answered');
    expect(await ask(`${DSSP}:InsertRequest`, good, `${to}/x`)).toBe('UnknownEntry');
    for (const action of ['urn:other', `${DSSP}:InsertResponse`, `${DSSP}:NotifyRequest`]) {
      expect(await ask(action, good)).toBe('ActionNotSupported');
    }
    for (const wrong of [
      undefined,
      element(uri, 'Inserted', [key, value]),
      element('urn:other', 'Insert', [key, value]),
      insert(),
      insert(key),
      insert(key, key, value),
      insert(key, value, element(uri, 'more')),
      insert(key, element('urn:other', 'value', '1')),
      insert(key, element(uri, 'value', 'one')),
      insert(key, element(uri, 'value', [element(uri, 'value', '1')])),
      element(uri, 'Insert', [key, 'text', value]),
      [good, good],
      element(uri, 'Update', [key, value]),
    ]) {
      expect(await ask(`${DSSP}:InsertRequest`, wrong)).toBe('MessageNotSupported');
    }
    expect(await ask(`${DSSP}:DropRequest`, good)).toBe('MessageNotSupported');
    const missing = element(uri, 'Keep', element(uri, 'pixels'));
    expect(await ask(`${DSSP}:InsertRequest`, missing)).toBe('MessageNotSupported');
  });

  test('what does not fit the contract is refused before it is sent', async () => {
    const { away, proxy } = await serve();
    const wrong = [
      proxy.insert({ key: 'a', value: 1.5 }),
      proxy.insert({ key: 'a', value: '1' as never }),
      proxy.insert({ key: '\u0000', value: 1 }),
      proxy.insert({ key: 'a' } as never),
      proxy.insert({ key: 'a', value: 1, more: 1 } as never),
      proxy.insert(null as never),
      proxy.insert('a' as never),
    ];
    for (const each of wrong) expect((await failure(each)).code).toBe('INVALID_ARGUMENT');
    expect(away.snapshot().messages).toMatchObject({ local: 0, out: 0 });
    // An answer in other words than the contract's is noticed where it arrives.
    const similar = contract(Everything.uri, {
      operations: { nothing: Submit(body('Nothing', {}), body('Something', { value: integer() })) },
    });
    expect((await failure(away.proxy(similar, proxy.$uri).nothing())).code).toBe('MESSAGE_INVALID');
  });
});

/** Names, values, text and order, without what encodings remember. */
function plain(node: XmlElement | string): unknown {
  if (typeof node === 'string') return node;
  const attributes = node.attributes.map(({ localName, value }) => [localName, value]);
  return [node.namespace, node.localName, attributes, node.children.map(plain)];
}
