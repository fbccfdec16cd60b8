// Peers that lie: a client that says what the command line never would, and a server that answers what ours never does. Each
// gets a fault or ends in a typed error, and nothing is stored, or stored elsewhere.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { asked, Client } from '../../lib/cli/client.js';
import { describe as problemOf, type Problem } from '../../lib/cli/failure.js';
import { FILES } from '../../lib/cli/files/client.js';
import { Measure, MEASURE } from '../../lib/cli/perf/contract.js';
import { element, Envelope, type RegisteredBuffer } from '../../lib/index.js';
import {
  contract,
  Files,
  FilesService,
  lend,
  Service,
  type Handlers,
  type Proxy,
  type Request,
} from '../../lib/runtime/index.js';
import type { AnyService } from '../../lib/runtime/service.js';
import { requestActionOf } from '../../lib/runtime/verbs.js';
import { until } from '../support/events.js';
import { startListening } from '../support/runtimes.js';
import { HonestMeasure, NOTHING_SPENT } from './measuring.js';
import { digests, makeDirectory, makeTree, Served, sha256, splitplane } from './support.js';

const CONTENT = 'what the file holds';

const clients: Client[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});

interface Asker {
  readonly client: Client;
  readonly files: Proxy<typeof Files>;
}

async function connect({ host }: Served): Promise<Asker> {
  const client = await Client.dial(host, { poll: 'event', allowInsecure: false }, {});
  clients.push(client);
  return { client, files: client.proxy(Files, FILES) };
}

/** What asking came to, which must be a failure. */
async function refusal(answer: Promise<unknown>): Promise<Problem> {
  return await asked(answer).then(
    () => expect.fail('It was to be refused.'),
    (error: unknown) => problemOf(error),
  );
}

function buffer(client: Client, text = CONTENT): RegisteredBuffer {
  const made = client.manager.allocate(text.length);
  made.bytes.write(text);
  return made;
}

type Put = Partial<Request<(typeof Files)['operations']['put']>>;

/** A put by hand. */
function put({ client, files }: Asker, says: Put, timeoutMs = 3_600_000) {
  const file = buffer(client);
  const returned = (): void => {
    file.release();
  };
  const content = lend(file, 'read', returned, Infinity);
  return files.put({ path: 'file', content, ...says }, { timeoutMs });
}

/** An operation whose body says what no proxy would write. */
async function say(asker: Asker, operation: keyof typeof Files.operations, body: string): Promise<Problem> {
  const { client } = asker;
  const { verb, request } = Files.operations[operation];
  const fields = [...body.matchAll(/(\w+)=(\S*)/g)].map(([, name = '', value = '']) =>
    element(Files.uri, name, value === '' ? [] : [value]),
  );
  const envelope = Envelope.of({
    to: asker.files.$uri,
    action: requestActionOf(verb),
    body: element(Files.uri, request.name, fields),
  });
  using answer = await client.connection.request(envelope);
  const { fault } = answer;
  if (fault === undefined) return expect.fail('It was to be refused.');
  const [subcode] = fault.subcodes;
  return { code: 'FAULT', message: fault.reason, subcode: subcode?.localName ?? fault.code };
}

describe('a client that lies', () => {
  test.each(['../x', 'a/../../x', '%2e%2e/x', '/../x', '..'])('cannot leave the root by %s', async (path) => {
    const asker = await connect(await Served.start(makeDirectory()));
    for (const operation of ['stat', 'list', 'get', 'partial', 'makeDirectory', 'put'] as const) {
      expect(await say(asker, operation, `path=${path}`)).toMatchObject({ subcode: 'PermissionDenied' });
    }
  });

  test('with a digest that is another file’s stores nothing', async () => {
    const root = makeDirectory();
    const asker = await connect(await Served.start(root));
    const transfer = randomUUID();
    const stored = refusal(put(asker, { transfer }));
    await asker.files.confirm({ transfer, sha256: sha256('something else') });
    expect(await stored).toMatchObject({ code: 'CHECKSUM_MISMATCH' });
    expect(digests(root)).toEqual({});
  });

  test('cannot confirm what somebody else puts', async () => {
    const root = makeDirectory();
    const served = await Served.start(root);
    const [first, second] = [await connect(served), await connect(served)];
    const stored = put(first, { transfer: 'one' });
    await until(() => '.file.splitplane-partial' in digests(root));
    await second.files.confirm({ transfer: 'one', sha256: sha256('something else') });
    await first.files.confirm({ transfer: 'one', sha256: sha256(CONTENT) });
    expect(await stored).toMatchObject({ sha256: sha256(CONTENT) });
  });

  test('cannot go on where nothing is', async () => {
    const root = makeDirectory();
    const asker = await connect(await Served.start(root));
    expect(await refusal(put(asker, { from: 5 }))).toMatchObject({ code: 'FILE_CHANGED' });
    expect(digests(root)).toEqual({});
  });

  test('cannot write a file that another is writing, until that one is gone', async () => {
    const root = makeDirectory();
    const served = await Served.start(root);
    const [first, second] = [await connect(served), await connect(served)];
    // It never says the digest, so that its transfer does not end.
    const waiting = refusal(put(first, { transfer: 'one' }));
    await until(() => '.file.splitplane-partial' in digests(root));
    expect(await refusal(put(second, { transfer: 'one' }))).toMatchObject({ code: 'REGION_BUSY' });
    first.client.connection.destroy();
    await waiting;
    // The refused one is logged too.
    await until(() => served.log.filter(({ action }) => action === 'Put').length === 2);
    await put(second, {});
    expect(digests(root)).toEqual({ file: sha256(CONTENT) });
  });

  test.each<[string, string]>([
    ['a mode with more than permissions', 'path=file mode=2559'],
    ['a length that is no number', 'path=file from=x'],
    ['a path that is not encoded', 'path=%zz'],
    ['no path', 'mode=420'],
    ['two paths', 'path=file path=other'],
    ['a NUL in the path', 'path=a%00b'],
    ['the root itself', 'path='],
    ['a digest that is none', 'path=file sha256=abc'],
    ['what nobody asked for', 'path=file owner=root'],
  ])('is told what is wrong: %s', async (_, body) => {
    const root = makeDirectory();
    const asker = await connect(await Served.start(root));
    const { message } = await say(asker, 'put', body);
    expect(message).toMatch(/\w+ \w+ \w+/);
    expect(digests(root)).toEqual({});
  });

  test('is answered with faults for what is no request', async () => {
    const { client, files } = await connect(await Served.start(makeDirectory()));
    const unknown = Envelope.of({
      to: files.$uri,
      action: 'urn:other/Format',
      body: element('urn:other', 'Format'),
    });
    const other = Envelope.of({
      to: files.$uri,
      action: requestActionOf('Get'),
      body: element('urn:other', 'GetFile'),
    });
    for (const [envelope, subcode] of [
      [unknown, 'PermissionDenied'],
      [other, 'MessageNotSupported'],
    ] as const) {
      using answer = await client.connection.request(envelope);
      expect(answer.fault?.subcodes[0]?.localName).toBe(subcode);
    }
  });

  test('cannot end a service, nor ask for what else a runtime has', async () => {
    const { client, files } = await connect(await Served.start(makeDirectory()));
    expect(await refusal(files.$drop())).toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(await refusal(files.remove({ path: 'file' }))).toMatchObject({ code: 'PERMISSION_DENIED' });
    for (const name of ['node', 'console', 'directory', 'constructor', 'security', 'nothing'])
      expect(await refusal(client.proxy(Files, name).$lookup())).toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(await files.stat({ path: '' })).toMatchObject({ kind: 'directory' });
  });

  test('cannot have more handled at once than is allowed, nor share more memory', async () => {
    const served = await Served.start(makeDirectory());
    const first = await connect(served);
    const puts = Array.from({ length: 80 }, (_, index) => {
      const transfer = `t${index}`;
      return refusal(first.files.put({ path: `f${index}`, transfer }, { timeoutMs: 3_600_000 }));
    });
    expect(await Promise.race(puts)).toMatchObject({ subcode: 'QueuingLimitExceeded' });
    const second = await connect(served);
    expect(await second.files.stat({ path: '' })).toMatchObject({ kind: 'directory' });
    first.client.connection.destroy();
    await Promise.all(puts);

    const measure = second.client.proxy(Measure, MEASURE);
    const large = { to: measure.$uri, action: requestActionOf('Submit') };
    const body = element(Measure.uri, 'Share', [
      element(Measure.uri, 'size', [String(2 ** 40)]),
      element(Measure.uri, 'access', ['read']),
    ]);
    using answer = await second.client.connection.request(Envelope.of({ ...large, body }));
    expect(answer.fault?.subcodes[0]?.localName).toBe('MessageNotSupported');
    const share = () => measure.share({ size: 64 << 20, access: 'read' });
    const shares = [await share(), await share(), await share(), await share()];
    expect(await refusal(share())).toMatchObject({ code: 'QUOTA_EXCEEDED' });
    for (const shared of shares) shared[Symbol.dispose]();
  });
});

/** What a lying server does otherwise than ours. */
type Lies = Partial<Handlers<typeof Files>>;

class LyingFiles extends FilesService {
  declare readonly handlers: Handlers<typeof Files>;

  constructor(lies: Lies) {
    super({ root: makeDirectory() });
    this.handlers = { ...this.handlers, ...lies };
  }
}

async function lie(files: Lies | AnyService): Promise<string> {
  const runtime = await startListening();
  await runtime.add(files instanceof Service ? files : new LyingFiles(files), {
    name: FILES,
  });
  await runtime.add(new HonestMeasure(), { name: MEASURE });
  return (runtime.network === undefined ? '' : runtime.prefix).replace(/^dos:\/\/|\/$/g, '');
}

/** A file with the content, of whatever else its server says. */
function serving(says: { size: number }): Lies['get'] {
  return function (this: unknown) {
    return { ...says, mode: 0o644, version: 'v', content: current() };
  };
}
let current: () => ReturnType<typeof lend>;

async function lieWithFile(lies: Lies, says = { size: CONTENT.length }): Promise<string> {
  const service = new LyingFiles({ ...lies, get: serving(says) as NonNullable<Lies['get']> });
  current = () => {
    const file = service.allocate(CONTENT.length);
    file.bytes.write(CONTENT);
    return lend(
      file,
      'read',
      () => {
        file.release();
      },
      Infinity,
    );
  };
  return await lie(service);
}

const stat = () => ({ kind: 'file', size: CONTENT.length, version: 'v' }) as const;
const directory = () => ({ kind: 'directory' }) as const;

describe('a server that lies', () => {
  test('about a digest: nothing is stored', async () => {
    const target = makeDirectory();
    const host = await lieWithFile({ stat, digest: () => ({ sha256: sha256('something else') }) });
    const { code, json } = await splitplane('get', '--json', `${host}:file`, target);
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({ ok: false, error: { code: 'CHECKSUM_MISMATCH' } });
    expect(digests(target)).toEqual({});
  });

  test('truthfully, to show that the others lie', async () => {
    const target = makeDirectory();
    const host = await lieWithFile({ stat, digest: () => ({ sha256: sha256(CONTENT) }) });
    expect((await splitplane('get', `${host}:file`, target)).code).toBe(0);
    expect(digests(target)).toEqual({ file: sha256(CONTENT) });
  });

  test('about a length', async () => {
    const target = makeDirectory();
    const host = await lieWithFile({ stat }, { size: 1 });
    const { code, json } = await splitplane('get', '--json', `${host}:file`, target);
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({ error: { code: 'PROTOCOL_VIOLATION' } });
    expect(digests(target)).toEqual({});
  });

  test('about what it was sent', async () => {
    const source = makeDirectory();
    makeTree(source, { file: CONTENT });
    const host = await lie({ put: () => ({ size: 1, resumedFrom: 2 ** 40, version: 'v' }) });
    const { code, json } = await splitplane('put', '--json', join(source, 'file'), `${host}:file`);
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({ error: { code: 'PROTOCOL_VIOLATION' } });
  });

  test.each(['..', '.', '', 'a/b', '../evil', '/etc/evil', 'a\0b'])(
    'with the name %j in a directory: nothing is written anywhere',
    async (name) => {
      const target = join(makeDirectory(), 'target');
      const list = () => ({ more: false, entries: [{ name, kind: 'file', size: 1 } as const] });
      const host = await lieWithFile({ stat: directory, list });
      const { code, json } = await splitplane('get', '--json', '--no-checksum', `${host}:.`, target);
      expect(code).toBe(1);
      expect(json[0]).toMatchObject({ error: { code: 'PROTOCOL_VIOLATION' } });
      expect(digests(target)).toEqual({});
    },
  );

  test('with a directory that never ends', async () => {
    const list = () => ({ more: true, entries: [{ name: 'same', kind: 'other' } as const] });
    const host = await lie({ stat: directory, list });
    const { code, json } = await splitplane('get', '--json', `${host}:.`, makeDirectory());
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({ error: { code: 'PROTOCOL_VIOLATION' } });
  });

  test('or that is none of ours is told apart', async () => {
    const target = makeDirectory();
    makeTree(target, { file: 'untouched' });
    const { stat: asking } = Files.operations;
    const Rumours = contract(Files.uri, {
      operations: { stat: { ...asking, response: Measure.operations.usage.response.named('StatResponse') } },
    });
    class RumourService extends Service<typeof Rumours> {
      readonly contract = Rumours;
      readonly handlers: Handlers<typeof Rumours> = { stat: () => NOTHING_SPENT };
    }
    const host = await lie(new RumourService());
    const { code, errors, lines } = await splitplane('get', '--json', `${host}:file`, target);
    expect(code).toBe(1);
    expect(errors + lines.join('')).toMatch(/"code":"MESSAGE_INVALID"/);
    expect(digests(target)).toEqual({ file: sha256('untouched') });
  });
});
