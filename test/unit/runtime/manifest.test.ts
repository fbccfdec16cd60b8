// Proves manifests: each part arrives as the loader takes it, everything that is wrong is told at once with its place, and
// xmllint, by the schema for editors, never refuses the structure of what is accepted here.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import type { SplitplaneError } from '../../../lib/errors.js';
import {
  MANIFEST_BYTES_MAX,
  MANIFEST_NAMESPACE,
  ManifestError,
  parseManifest,
  PARTNERS_MAX,
  readManifest,
  SERVICES_MAX,
  type Manifest,
} from '../../../lib/runtime/manifest.js';
import { judge } from '../../support/xmllint.js';

const WHERE = '/etc/splitplane/manifest.xml';
const manifest = (inside: string, attributes = 'name="m"'): string =>
  `<manifest xmlns="${MANIFEST_NAMESPACE}" ${attributes}>\n${inside}\n</manifest>`;
const service = (attributes: string, inside = ''): string =>
  manifest(`<service name="a" module="./a.js" ${attributes}>${inside}</service>`);

const FULL = `<?xml version="1.0" encoding="UTF-8"?>
<!-- Everything that a manifest can say. -->
<manifest xmlns="${MANIFEST_NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
          xsi:schemaLocation="${MANIFEST_NAMESPACE} manifest.xsd" name="camera-host">
  <security policy="rights/policy.xml" audit="/var/log/audit.log"/>
  <network listen="tcp://127.0.0.1:7350
                   unix:/run/camera.sock [::1]:7351" allow-insecure="true" transports="rdma tcp" poll="adaptive"
           credentials="secret.bin"/>
  <monitor listen="http://127.0.0.1:0"/>
  <service name="camera" module="./services/camera.js" contract="urn:example:camera:1" host="thread" queue="64"
           timeout-ms="5000">
    <partner name="analysis" uri="dos://10.0.0.2:7350/analysis"/>
    <partner name="store" service="frames/today"/>
    <state><c:Camera xmlns:c="urn:example:camera:1"><c:Rate>25</c:Rate></c:Camera></state>
  </service>
  <service name="frames/today" builtin="files"><state><Files xmlns="urn:example:files"/></state></service>
</manifest>
`;

function refusal(text: string): ManifestError {
  try {
    parseManifest(text, WHERE);
  } catch (error) {
    if (error instanceof ManifestError) return error;
    throw error;
  }
  throw new Error(`the manifest was accepted: ${text}`);
}

describe('step 408: the loading instructions that a service loader reads', () => {
  test('arrives whole, with paths made absolute from the folder of the manifest', () => {
    const { services, ...rest } = parseManifest(FULL, WHERE);
    expect(rest).toEqual({
      name: 'camera-host',
      source: WHERE,
      security: { off: false, policy: '/etc/splitplane/rights/policy.xml', audit: '/var/log/audit.log' },
      network: {
        listen: ['tcp://127.0.0.1:7350', 'unix:/run/camera.sock', '[::1]:7351'],
        allowInsecure: true,
        transports: ['rdma', 'tcp'],
        poll: 'adaptive',
        credentials: '/etc/splitplane/secret.bin',
      },
      monitor: { listen: 'http://127.0.0.1:0' },
    });
    const [camera, frames] = services;
    expect(camera).toMatchObject({
      name: 'camera',
      module: 'file:///etc/splitplane/services/camera.js',
      builtin: undefined,
      contract: 'urn:example:camera:1',
      host: 'thread',
      queueMax: 64,
      timeoutMs: 5000,
      at: { line: 10, column: 3 },
    });
    expect(Object.entries(camera?.partners ?? {})).toEqual([
      ['analysis', 'dos://10.0.0.2:7350/analysis'],
      ['store', 'frames/today'],
    ]);
    expect(camera?.state?.is('urn:example:camera:1', 'Camera')).toBe(true);
    expect(camera?.state?.child('urn:example:camera:1', 'Rate')?.text()).toBe('25');
    expect(frames).toMatchObject({ name: 'frames/today', module: undefined, builtin: 'files', host: 'here' });
  });

  test('may be almost nothing: no binding, no services, and a policy beside it', () => {
    const { security, network, monitor, services } = parseManifest(manifest(''), WHERE);
    expect({ security, network, monitor, services }).toEqual({
      security: { off: false, policy: '/etc/splitplane/policy.xml' },
      services: [],
    });
    const off = parseManifest(manifest('<security off="true"/><network/>'), WHERE);
    expect(off.security).toEqual({ off: true });
    expect(off.network).toEqual({ listen: [], allowInsecure: false });
    const named = parseManifest(manifest('<security off="false"/>'), WHERE);
    expect(named.security).toEqual({ off: false, policy: '/etc/splitplane/policy.xml' });
  });

  test('cannot be changed by whoever gets it', () => {
    const read = parseManifest(FULL, WHERE);
    const parts = [read, read.security, read.network, read.network?.listen, read.monitor, read.services];
    for (const part of [...parts, ...read.services, ...read.services.flatMap((s) => [s.partners, s.at])]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  test('has partners by their names alone, whatever these are', () => {
    const partners = ['__proto__', 'constructor', 'toString'].map(
      (name) => `<partner name="${name}" service="a"/>`,
    );
    const [first] = parseManifest(service('', partners.join('')), WHERE).services;
    expect(Object.keys(first?.partners ?? {})).toEqual(['__proto__', 'constructor', 'toString']);
    const [none] = parseManifest(service(''), WHERE).services;
    expect(none?.partners['constructor']).toBeUndefined();
  });

  test('may make services partners of each other', () => {
    const one = '<service name="a" builtin="x"><partner name="p" service="b"/></service>';
    const other = '<service name="b" builtin="x"><partner name="p" service="a"/></service>';
    expect(parseManifest(manifest(one + other), WHERE).services).toHaveLength(2);
  });
});

/** Documents that xmllint refuses too. */
const AGAINST_THE_SCHEMA: readonly (readonly [string, string, RegExp])[] = [
  ['an empty file', '', /well-formed|no element/],
  ['no manifest', '<policy/>', /root element is <policy> of no namespace/],
  ['another version', FULL.replaceAll('manifest:1', 'manifest:2'), /of "urn:splitplane:manifest:2"/],
  ['no name', manifest('', ''), /lacks its attribute name/],
  ['an empty name', manifest('', 'name=""'), /name="" is not a name/],
  ['a name in parts', manifest('', 'name="a/b"'), /name="a\/b" is not a name/],
  ['an unknown attribute', manifest('', 'name="a" nam="b"'), /no attribute "nam". It takes name\./],
  ['an attribute of a namespace', manifest('', 'name="a" xml:lang="en"'), /no attribute "\{http:.*\}lang"/],
  [
    'a hint at a schema inside',
    service('xmlns:x="http://www.w3.org/2001/XMLSchema-instance" x:type="y"'),
    /\}type"/,
  ],
  ['an unknown element', manifest('<servcie/>'), /does not take <servcie> of "urn:splitplane:manifest:1"/],
  ['an element of another namespace', manifest('<service xmlns="urn:x"/>'), /<service> of "urn:x"/],
  ['text', manifest('hello'), /<manifest> holds text/],
  ['text in a service', service('', 'hello'), /<service> holds text/],
  ['text in a partner', service('', '<partner name="p" service="a">b</partner>'), /<partner> holds text/],
  ['security twice', manifest('<security/><security/>'), /at most 1 <security>/],
  ['the wrong order', manifest('<network/><security/>'), /<security> stands too late/],
  ['an unknown word', manifest('<security off="yes"/>'), /off="yes" is not true or false/],
  ['an empty path', manifest('<security policy=""/>'), /policy="" is not the path of a file/],
  ['an address that is none', manifest('<network listen="tcp://a:1/x"/>'), /not a list, .* of addresses/],
  ['no address', manifest('<network listen=""/>'), /not a list/],
  [
    'a transport that is none',
    manifest('<network transports="tcp,rdma"/>'),
    /not a list, .* names of transports/,
  ],
  ['an unknown way to wait', manifest('<network poll="always"/>'), /not event or busy or adaptive/],
  ['a page over another scheme', manifest('<monitor listen="https://a:1"/>'), /not an address http/],
  ['a page on no port', manifest('<monitor listen="http://a"/>'), /not an address http/],
  ['a page nowhere', manifest('<monitor/>'), /lacks its attribute listen/],
  ['a service without a name', manifest('<service module="./a.js"/>'), /lacks its attribute name/],
  ['a service of another host', service('host="there"'), /not here or thread or process/],
  ['a queue of nothing', service('queue="0"'), /not a whole number from 1 to 1000000/],
  ['a queue too long', service('queue="1000001"'), /not a whole number/],
  ['a queue of words', service('queue="many"'), /not a whole number/],
  ['half a millisecond', service('timeout-ms="0.5"'), /not a whole number/],
  ['a time beyond timers', service('timeout-ms="2147483648"'), /not a whole number/],
  ['a contract that is no URI', service('contract="camera"'), /not an absolute URI/],
  ['a contract with spaces', service('contract="urn:a b"'), /not an absolute URI/],
  ['a module from a package', manifest('<service name="a" module="fs"/>'), /begins with .\/ or/],
  ['a module from afar', manifest('<service name="a" module="https://x/a.js"/>'), /begins with/],
  ['a module in a URL', manifest('<service name="a" module="data:text/javascript,1"/>'), /begins with/],
  [
    'a name twice',
    manifest('<service name="a" builtin="x"/><service name="a" builtin="y"/>'),
    /taken by line 2/,
  ],
  ['a step up in a name', manifest('<service name="../a" builtin="x"/>'), /not a name/],
  ['a step in the middle', manifest('<service name="a/../b" builtin="x"/>'), /not a name/],
  ['a step that stays', manifest('<service name="a/./b" builtin="x"/>'), /not a name/],
  ['a name with an empty part', manifest('<service name="a//b" builtin="x"/>'), /not a name/],
  ['a name with an escape', manifest('<service name="a%2fb" builtin="x"/>'), /not a name/],
  ['a name with a line break', manifest('<service name="a&#10;b" builtin="x"/>'), /not a name/],
  ['a long name', manifest(`<service name="${'a'.repeat(256)}" builtin="x"/>`), /not a name/],
  ['an unknown partner', service('', '<partner name="p" service="b"/>'), /has no service "b"/],
  ['a partner elsewhere', service('', '<partner name="p" uri="http://a/b"/>'), /not the URI of a service/],
  [
    'a partner up the path',
    service('', '<partner name="p" uri="dos://a/../b"/>'),
    /not the URI of a service/,
  ],
  [
    'a partner twice',
    service('', '<partner name="p" service="a"/><partner name="p" service="a"/>'),
    /taken by/,
  ],
  [
    'two states',
    service('', '<state><x xmlns="u"/></state><state><x xmlns="u"/></state>'),
    /at most 1 <state>/,
  ],
  ['a state of two', service('', '<state><x xmlns="u"/><y xmlns="u"/></state>'), /takes one element/],
  ['a state of nothing', service('', '<state/>'), /<state> is empty/],
  ['a state of text', service('', '<state>1</state>'), /<state> holds text/],
  ['a state of no namespace', service('', '<state><x xmlns=""/></state>'), /no namespace of its own/],
  ['a state of ours', service('', '<state><service/></state>'), /no namespace of its own/],
  [
    'a partner after the state',
    service('', '<state><x xmlns="u"/></state><partner name="p" service="a"/>'),
    /too late/,
  ],
];

/** What a schema cannot say, or xmllint does not check. */
const BEYOND_THE_SCHEMA: readonly (readonly [string, string, RegExp])[] = [
  ['a document type', `<!DOCTYPE manifest>${manifest('')}`, /document type declaration/],
  ['an entity bomb', `<!DOCTYPE m [<!ENTITY a "b">]>${manifest('<!-- -->')}`, /document type declaration/],
  [
    'a policy that would do nothing',
    manifest('<security off="true" policy="p.xml"/>'),
    /policy would do nothing/,
  ],
  ['a log that would do nothing', manifest('<security off="true" audit="a.log"/>'), /audit would do nothing/],
  ['a port that is none', manifest('<network listen="a:65536"/>'), /not a list/],
  ['an address twice', manifest('<network listen="a:1 a:1"/>'), /each once/],
  ['a service address', manifest('<network listen="dos://a:1"/>'), /not a list/],
  ['a page on a port that is none', manifest('<monitor listen="http://a:99999"/>'), /not an address http/],
  ['a service of nothing', manifest('<service name="a"/>'), /neither module and builtin/],
  ['a service of both', service('builtin="x"'), /both module and builtin/],
  ['a partner nowhere', service('', '<partner name="p"/>'), /neither uri and service/],
  [
    'a partner in two places',
    service('', '<partner name="p" uri="dos:///a" service="a"/>'),
    /both uri and service/,
  ],
  [
    'a partner on no port',
    service('', '<partner name="p" uri="dos://a:65536/b"/>'),
    /not the URI of a service/,
  ],
  ['a number with a sign', service('queue="+5"'), /not a whole number/],
  ['a number with zeros', service('queue="007"'), /not a whole number/],
];

describe('what is refused', () => {
  test.each([...AGAINST_THE_SCHEMA, ...BEYOND_THE_SCHEMA])('%s', (_what, text, message) => {
    const error = refusal(text);
    expect(error.message).toMatch(message);
    expect(error.code).toBe('MANIFEST_INVALID');
    for (const problem of error.problems) {
      expect(problem.message).toMatch(/\.$/);
      expect(problem.message).not.toMatch(/[\n\r]/);
    }
  });

  test('all at once, in the order of the document, as FILE:LINE:COLUMN', () => {
    const text = manifest('<network poll="x"/>\n<service name="a"/>\n  <service name="a" builtin="X" q=""/>');
    const { problems, message } = refusal(text);
    expect(problems.map(({ line, column }) => [line, column])).toEqual([
      [2, 10],
      [3, 1],
      [4, 12],
      [4, 21],
      [4, 33],
    ]);
    const lines = problems.map((p) => `${WHERE}:${p.line}:${p.column}: ${p.message}`);
    expect(message).toBe(lines.join('\n'));
  });

  test('at the attribute that is wrong, whatever precedes it', () => {
    const space = fc
      .array(fc.constantFrom(' ', '\t', '\n', '\r\n', '\r'), { minLength: 1 })
      .map((parts) => parts.join(''));
    const comment = fc.string().map((text) => `<!--${text.replace(/[^ \n\u{1F600}]/gu, 'x')}-->`);
    fc.assert(
      fc.property(space, comment, space, (before, said, between) => {
        const text = manifest(`${said}<service${before}name="a"${between}builtin="x"${between}wrong="1"/>`);
        const lines = text.slice(0, text.indexOf('wrong')).split(/\r\n|\r|\n/);
        expect(refusal(text).problems).toMatchObject([
          { line: lines.length, column: (lines.at(-1) ?? '').length + 1 },
        ]);
      }),
    );
  });

  test('with a bounded number of problems, and how many more there are', () => {
    const { problems } = refusal(manifest('<x/>'.repeat(250)));
    expect(problems).toHaveLength(101);
    expect(problems.at(-1)?.message).toBe('There are 150 problems more.');
  });

  test('with values cut short', () => {
    expect(refusal(manifest('', `name="${' '.repeat(100_000)}"`)).message.length).toBeLessThan(500);
    expect(refusal(`<${'a'.repeat(250)} xmlns="${'u'.repeat(100_000)}"/>`).message.length).toBeLessThan(500);
  });

  test('too many services or partners, or too deep', () => {
    const services = Array.from(
      { length: SERVICES_MAX + 1 },
      (_, i) => `<service name="s${i}" builtin="x"/>`,
    );
    expect(refusal(manifest(services.join(''))).message).toMatch(/takes at most 100000 <service>/);
    expect(parseManifest(manifest(services.slice(1).join('')), WHERE).services).toHaveLength(SERVICES_MAX);
    const partners = Array.from(
      { length: PARTNERS_MAX + 1 },
      (_, i) => `<partner name="p${i}" service="a"/>`,
    );
    expect(refusal(service('', partners.join(''))).message).toMatch(/takes at most 1024 <partner>/);
    const deep = `${'<x xmlns="u">'.repeat(100)}${'</x>'.repeat(100)}`;
    expect(refusal(service('', `<state>${deep}</state>`)).message).toMatch(/nested deeper than 64/);
  });

  test('a manifest cut off anywhere', () => {
    const end = FULL.lastIndexOf('</manifest>') + '</manifest>'.length;
    for (let length = 0; length < end; length++)
      expect(refusal(FULL.slice(0, length)).problems).toHaveLength(1);
  });
});

describe('files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'manifest-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const rejected = (path: string): Promise<SplitplaneError> =>
    readManifest(path).then(
      () => expect.unreachable(),
      (error: unknown) => error as SplitplaneError,
    );

  test('are read with their paths', async () => {
    const path = file('good.xml', FULL);
    expect(await readManifest(path)).toMatchObject({ source: path, name: 'camera-host' });
    expect((await readManifest(file('mark.xml', `\uFEFF${FULL}`))).services[0]?.at).toEqual({
      line: 10,
      column: 3,
    });
  });

  test('that cannot be read are told apart from those that are wrong', async () => {
    const missing = await rejected(join(folder, 'missing.xml'));
    expect(missing).toMatchObject({ code: 'SYSTEM', cause: { code: 'ENOENT' } });
    expect(missing.message).toContain(join(folder, 'missing.xml'));
    expect(await rejected(folder)).toMatchObject({ code: 'MANIFEST_INVALID' });
    const latin1 = await rejected(file('latin1.xml', Buffer.from(manifest('<!-- é -->'), 'latin1')));
    expect(latin1).toMatchObject({
      code: 'MANIFEST_INVALID',
      message: expect.stringMatching(/not UTF-8/) as string,
    });
  });

  test('that are no files are not waited for', async () => {
    const pipe = join(folder, 'pipe');
    expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
    expect(await rejected(pipe)).toMatchObject({
      code: 'MANIFEST_INVALID',
      message: expect.stringMatching(/not a regular file/) as string,
    });
  });

  test('that are too long are refused before they are read', async () => {
    const path = file('long.xml', '');
    expect(spawnSync('truncate', ['-s', String(MANIFEST_BYTES_MAX + 1), path]).status).toBe(0);
    expect((await rejected(path)).message).toMatch(/longer than 67108864 bytes/);
  });
});

describe('xmllint, by docs/manifest.xsd', () => {
  test('accepts what is accepted here, and refuses what the schema can say', () => {
    const examples = [FULL, manifest(''), service('')];
    expect(judge('manifest.xsd', examples)).toEqual(examples.map(() => true));
    const against = AGAINST_THE_SCHEMA.map(([, text]) => text);
    const verdicts = judge('manifest.xsd', against);
    expect(AGAINST_THE_SCHEMA.filter((_, i) => verdicts[i]).map(([what]) => what)).toEqual([]);
  });

  test('the limits and namespace in it are those of the code', () => {
    const schema = readFileSync(new URL('../../../docs/manifest.xsd', import.meta.url), 'utf8');
    expect(schema).toContain(`targetNamespace="${MANIFEST_NAMESPACE}"`);
    expect(schema).toContain(`At most ${SERVICES_MAX.toLocaleString('en')}.`);
    expect(schema).toContain(`At most ${PARTNERS_MAX}.`);
  });

  // Elements and attributes of the schema in any combination, with values that are often right.
  const values = fc.constantFrom(
    ...[
      'a',
      'b',
      'a/b',
      '..',
      '.a',
      'true',
      'false',
      'here',
      '1',
      '0',
      '1000000',
      '1000001',
      './a.js',
      '/a',
      'urn:x',
    ],
    ...[
      'dos:///a',
      'dos://h:1/a/b',
      'dos://h/..',
      'tcp://h:1',
      'h:1 g:2',
      ' h:1 ',
      'http://h:1',
      'event',
      '',
      'é',
      'a&#10;b',
    ],
  );
  const attributes = fc
    .uniqueArray(
      fc.constantFrom(
        ...['name', 'off', 'policy', 'listen', 'poll', 'transports', 'allow-insecure', 'module', 'builtin'],
        ...['contract', 'host', 'queue', 'timeout-ms', 'uri', 'service', 'other'],
      ),
      { maxLength: 3 },
    )
    .chain((names) =>
      fc.tuple(...names.map((name) => values.map((v) => ` ${name}="${v}"`))).map((all) => all.join('')),
    );
  const element = (name: fc.Arbitrary<string>, inside: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    fc.tuple(name, attributes, inside).map(([n, a, i]) => `<${n}${a}>${i}</${n}>`);
  const leaf = element(
    fc.constantFrom('partner', 'state', 'service', 'x:y'),
    fc.constantFrom('', '', ' ', 'text', '<x:y/>', '<!-- -->'),
  );
  const rightPartner = fc.constantFrom('a', 'b').map((n) => `<partner name="${n}" service="a"/>`);
  const parts = fc
    .array(fc.oneof(leaf, rightPartner, fc.constant('<state><x:y/></state>')), { maxLength: 3 })
    .map((all) => all.join(''));
  const rightService = fc
    .tuple(fc.constantFrom('a', 'b', 'c/d'), parts)
    .map(([n, inside]) => `<service name="${n}" builtin="x">${inside}</service>`);
  const child = fc.oneof(
    { weight: 3, arbitrary: rightService },
    { weight: 1, arbitrary: element(fc.constantFrom('security', 'network', 'monitor', 'service'), parts) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('<security/>', '<network listen="h:1"/>', '<monitor listen="http://h:1"/>'),
    },
  );
  const documents = fc
    .array(child, { maxLength: 3 })
    .map((inside) => manifest(inside.join(''), 'name="m" xmlns:x="urn:x"'));

  test('never refuses what is accepted here, whatever is written', () => {
    const sample = fc.sample(documents, 600);
    const verdicts = judge('manifest.xsd', sample);
    const accepted = sample.map((text): Manifest | undefined => {
      try {
        return parseManifest(text, WHERE);
      } catch (error) {
        if (error instanceof ManifestError) return undefined;
        throw error;
      }
    });
    expect(sample.filter((_, i) => accepted[i] !== undefined && verdicts[i] === false)).toEqual([]);
    // And the sample has both, or the line above says nothing.
    expect(accepted.filter((read) => (read?.services.length ?? 0) > 0).length).toBeGreaterThan(5);
    expect(verdicts.filter((isValid) => !isValid).length).toBeGreaterThan(5);
  });
});
