// Peers that lie: a client that says what the command line never would, and a server that answers what ours never does. Each
// gets a fault or ends in a typed error, and nothing is stored, or stored elsewhere.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Client } from '../../lib/cli/client.js';
import { describe as problemOf } from '../../lib/cli/failure.js';
import { actionOf, item, request, SERVICE, type Attributes } from '../../lib/cli/wire.js';
import { element, Envelope, include, type Message, type RegisteredBuffer } from '../../lib/index.js';
import type { Problem } from '../../lib/cli/failure.js';
import { until } from '../support/events.js';
import { makeManager } from '../support/managers.js';
import { digests, makeDirectory, makeTree, Served, sha256, splitplane } from './support.js';

const CONTENT = 'what the file holds';

async function connect({ host }: Served): Promise<Client> {
  const manager = makeManager();
  return new Client(manager, await manager.connect(host));
}

/** What asking came to, which must be a failure. */
async function refusal(asked: Promise<unknown>): Promise<Problem> {
  return await asked.then(
    () => expect.fail('It was to be refused.'),
    (error: unknown) => problemOf(error),
  );
}

function buffer(client: Client, text = CONTENT): RegisteredBuffer {
  const made = client.manager.allocate(text.length);
  made.bytes.write(text);
  return made;
}

/** A Put by hand. */
async function put(client: Client, attributes: Attributes, withFile = true): Promise<Message> {
  const all = { path: 'file', id: randomUUID(), mode: 0o644, from: 0, verify: true, ...attributes };
  if (!withFile) return await client.request(request('Put', all));
  using file = buffer(client);
  const buffers = [{ buffer: file, cid: 'file', uses: Infinity }];
  return await client.request(request('Put', all, [include('file')]), { buffers });
}

describe('a client that lies', () => {
  test.each(['../x', 'a/../../x', '%2e%2e/x', '/../x', '..'])('cannot leave the root by %s', async (path) => {
    const client = await connect(await Served.start(makeDirectory()));
    for (const action of ['Stat', 'List', 'Get', 'Partial', 'MakeDirectory'] as const) {
      expect(await refusal(client.call(action, { path }))).toMatchObject({ code: 'PERMISSION_DENIED' });
    }
    expect(await refusal(put(client, { path, verify: false }))).toMatchObject({ code: 'PERMISSION_DENIED' });
  });

  test('with a digest that is another file’s stores nothing', async () => {
    const root = makeDirectory();
    const client = await connect(await Served.start(root));
    const id = randomUUID();
    const stored = refusal(put(client, { id }));
    await client.tell('PutDigest', { id, sha256: sha256('something else') });
    expect(await stored).toMatchObject({ code: 'CHECKSUM_MISMATCH' });
    expect(digests(root)).toEqual({});
  });

  test('cannot go on where nothing is', async () => {
    const root = makeDirectory();
    const client = await connect(await Served.start(root));
    expect(await refusal(put(client, { from: 5, verify: false }))).toMatchObject({ code: 'FILE_CHANGED' });
    expect(digests(root)).toEqual({});
  });

  test('cannot write a file that another is writing, until that one is gone', async () => {
    const root = makeDirectory();
    const served = await Served.start(root);
    const [first, second] = [await connect(served), await connect(served)];
    // It never says the digest, so that its transfer does not end.
    const waiting = refusal(put(first, {}));
    await until(() => '.file.splitplane-partial' in digests(root));
    expect(await refusal(put(second, {}))).toMatchObject({ code: 'REGION_BUSY' });
    first.connection.destroy();
    await waiting;
    // The refused one is logged too.
    await until(() => served.log.filter(({ action }) => action === 'Put').length === 2);
    (await put(second, { verify: false })).release();
    expect(digests(root)).toEqual({ file: sha256(CONTENT) });
  });

  test.each<[string, Attributes]>([
    ['a mode with more than permissions', { mode: 0o4777 }],
    ['a length that is no number', { from: 'x' }],
    ['a path that is not encoded', { path: '%zz' }],
    ['no path', { path: undefined }],
    ['a NUL in the path', { path: 'a%00b' }],
    ['the root itself', { path: '' }],
  ])('is told what is wrong: %s', async (_, attributes) => {
    const root = makeDirectory();
    const client = await connect(await Served.start(root));
    const { message } = await refusal(put(client, attributes, false));
    expect(message).toMatch(/\w+ \w+ \w+/);
    expect(digests(root)).toEqual({});
  });

  test('is answered with faults for what is no request', async () => {
    const client = await connect(await Served.start(makeDirectory()));
    const unknown = Envelope.of({ action: `${SERVICE}/Format`, body: item('Format') });
    expect(await refusal(client.request(unknown))).toMatchObject({ subcode: 'ActionNotSupported' });
    const other = Envelope.of({ action: `${SERVICE}/Get`, body: element('urn:other', 'Get') });
    expect(await refusal(client.request(other))).toMatchObject({ subcode: 'Sender' });
  });

  test('cannot have more handled at once than is allowed, nor share more memory', async () => {
    const root = makeDirectory();
    const client = await connect(await Served.start(root));
    const puts = Array.from({ length: 80 }, (_, index) => refusal(put(client, { path: `f${index}` }, false)));
    const first = await Promise.race(puts);
    expect(first).toMatchObject({ subcode: 'QueuingLimitExceeded' });
    client.connection.destroy();
    await Promise.all(puts);

    const another = await connect(await Served.start(root));
    expect(await refusal(another.call('Share', { size: 2 ** 40, access: 'read' }))).toMatchObject({
      subcode: 'Sender',
    });
    const share = () => another.call('Share', { size: 64 << 20, access: 'read' });
    const shares = [await share(), await share(), await share(), await share()];
    expect(await refusal(share())).toMatchObject({ code: 'QUOTA_EXCEEDED' });
    for (const shared of shares) shared.release();
  });
});

/** A server that answers as it is told: an action's attributes and elements. */
type Script = Partial<Record<string, { attributes?: Attributes; content?: string; entries?: Attributes[] }>>;

async function lie(script: Script): Promise<string> {
  const manager = makeManager();
  const { address } = await manager.listen('tcp://127.0.0.1:0');
  void (async () => {
    for await (const message of manager.messages) {
      const action = actionOf(message.envelope.action) ?? '';
      const usage = { cpuSeconds: 0, bytesReceived: 0, bytesCopied: 0, eventLoopDelayP99Ms: 0 };
      const {
        attributes,
        content,
        entries = [],
      } = script[action] ?? (action === 'Usage' ? { attributes: usage } : { attributes: {} });
      const file = content === undefined ? undefined : manager.allocate(content.length);
      file?.bytes.write(content ?? '');
      const body = item(
        `${action}Response`,
        attributes,
        file === undefined ? entries.map((entry) => item('Entry', entry)) : [include('file')],
      );
      const buffers = file === undefined ? [] : [{ buffer: file, cid: 'file', uses: Infinity }];
      await message.reply({ action: `${SERVICE}/${action}Response`, body }, { buffers });
      file?.release();
      message.release();
    }
  })();
  return address.replace('tcp://', '');
}

const GET = { attributes: { size: CONTENT.length, mode: 0o644, version: 'v' }, content: CONTENT };
const STAT = { attributes: { kind: 'file', size: CONTENT.length, version: 'v' } };

describe('a server that lies', () => {
  test('about a digest: nothing is stored', async () => {
    const target = makeDirectory();
    const wrong = { attributes: { sha256: sha256('something else') } };
    const host = await lie({ Stat: STAT, Get: GET, Digest: wrong });
    const { code, json } = await splitplane('get', '--json', `${host}:file`, target);
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({ ok: false, error: { code: 'CHECKSUM_MISMATCH' } });
    expect(digests(target)).toEqual({});
  });

  test('truthfully, to show that the others lie', async () => {
    const target = makeDirectory();
    const host = await lie({ Stat: STAT, Get: GET, Digest: { attributes: { sha256: sha256(CONTENT) } } });
    expect((await splitplane('get', `${host}:file`, target)).code).toBe(0);
    expect(digests(target)).toEqual({ file: sha256(CONTENT) });
  });

  test('about a length', async () => {
    const target = makeDirectory();
    const host = await lie({ Stat: STAT, Get: { ...GET, attributes: { ...GET.attributes, size: 1 } } });
    const { code, json } = await splitplane('get', '--json', `${host}:file`, target);
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({ error: { code: 'PROTOCOL_VIOLATION' } });
    expect(digests(target)).toEqual({});
  });

  test.each(['..', '.', '', 'a%2Fb', '..%2Fevil', '%2Fetc%2Fevil', 'a%00b'])(
    'with the name %s in a directory: nothing is written anywhere',
    async (name) => {
      const target = join(makeDirectory(), 'target');
      const entries = [{ name, kind: 'file', size: 1 }];
      const List = { attributes: { more: false }, entries };
      const host = await lie({ Stat: { attributes: { kind: 'directory' } }, List, Get: GET });
      const { code, json } = await splitplane('get', '--json', '--no-checksum', `${host}:.`, target);
      expect(code).toBe(1);
      expect(json[0]).toMatchObject({ error: { code: 'PROTOCOL_VIOLATION' } });
      expect(digests(target)).toEqual({});
    },
  );

  test('with a directory that never ends', async () => {
    const entries = [{ name: 'same', kind: 'other' }];
    const host = await lie({
      Stat: { attributes: { kind: 'directory' } },
      List: { attributes: { more: true }, entries },
    });
    const { code, json } = await splitplane('get', '--json', `${host}:.`, makeDirectory());
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({ error: { code: 'PROTOCOL_VIOLATION' } });
  });

  test('or that is none of ours is told apart', async () => {
    const target = makeDirectory();
    makeTree(target, { file: 'untouched' });
    const host = await lie({ Stat: { attributes: { kind: 'rumour' } } });
    const { code, errors, lines } = await splitplane('get', '--json', `${host}:file`, target);
    expect(code).toBe(1);
    expect(errors + lines.join('')).toMatch(/none of file, directory, other/);
    expect(digests(target)).toEqual({ file: sha256('untouched') });
  });
});
