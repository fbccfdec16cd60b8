// `splitplane run` as a real process: what it says, how it ends, and what becomes of it when services do not start.
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { manifestOf, makeManifest, PARTS, RECORDER, Running } from './runtime-support.js';
import { Command, makeTree, outcomeOf, splitplane, type Json } from './support.js';

const { unsecured, network, recorder, broken } = PARTS;

describe('what runs', () => {
  test('says where it listens and what each service is, then what they say', async () => {
    const { manifest } = makeManifest(manifestOf(unsecured, network, recorder, broken));
    const command = new Command(['run', manifest]);
    await command.until(({ lines }) => lines.some((line) => line.startsWith('test runs as')));
    expect(await command.end('SIGTERM')).toBe(0);
    const text = command.lines.join('\n');
    expect(text).toMatch(
      /^test runs as dos:\/\/127\.0\.0\.1:(\d+)\/, listening on tcp:\/\/127\.0\.0\.1:\1$/m,
    );
    expect(text).toMatch(/^ {2}recorder {2}running {3}urn:example:recorder:1$/m);
    expect(text).toMatch(/^ {2}broken {4}failed {4}\S.*missing\.mjs/m);
    expect(text).toMatch(/^\S+Z info recorder: The recorder has started\.$/m);
    expect(text).toMatch(/^\S+Z error broken: The service of line 5 did not start/m);
  });

  test('says the same to programs, and where its page is', async () => {
    const running = await Running.start({ args: ['--monitor'] });
    expect(running.facts).toMatchObject({
      running: 'test',
      prefix: `dos://${running.host}/`,
      pid: running.command.process.pid,
      services: [{ uri: running.uri('recorder'), name: 'recorder', state: 'running' }],
    });
    const page = await fetch(running.facts['monitor'] as string);
    expect(page.headers.get('content-type')).toMatch(/^text\/html/);
    const snapshot = await fetch(new URL('snapshot.json', running.facts['monitor'] as string));
    expect(await snapshot.json()).toMatchObject({
      name: 'test',
      services: expect.arrayContaining([expect.objectContaining({ name: 'recorder' })]) as unknown,
    });
    expect(running.log).toMatchObject([
      { level: 'info', source: 'recorder', text: 'The recorder has started.' },
    ]);
  });

  test('serves the page where the manifest says', async () => {
    const monitor = '<monitor listen="http://127.0.0.1:0"/>';
    const running = await Running.start({ text: manifestOf(unsecured, monitor, recorder) });
    expect((await fetch(running.facts['monitor'] as string)).status).toBe(200);
    expect(running.facts).toMatchObject({ prefix: 'dos:///', listening: [] });
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('%s stops the services and exits with 0', async (signal) => {
    const running = await Running.start();
    expect(await running.command.end(signal)).toBe(0);
    expect(running.log.at(-1)).toMatchObject({ text: 'The recorder has stopped.' });
    expect(running.command.errors).toBe('');
  });

  test('a timer that a service left running does not keep it from ending', async () => {
    const { directory, manifest } = makeManifest(manifestOf(unsecured, recorder));
    makeTree(directory, { 'recorder.mjs': `${RECORDER}\nsetInterval(() => undefined, 1000);` });
    const command = new Command(['run', manifest]);
    await command.until(({ lines }) => lines.some((line) => line.startsWith('test runs as')));
    expect(await command.end('SIGINT')).toBe(0);
  });
});

describe('the policy', () => {
  const allow = '<allow roles="*" verbs="Get Lookup" path="/recorder"/>';
  const register = '<allow roles="*" register="recorder"/>';
  const policyOf = (...rules: string[]): string =>
    `<policy xmlns="urn:splitplane:policy:1">${rules.join('')}</policy>`;

  test('is read again on SIGHUP; one that is broken changes nothing', async () => {
    const { directory, manifest } = makeManifest(manifestOf(network, recorder));
    makeTree(directory, { 'policy.xml': policyOf(register) });
    const running = await Running.of(manifest);
    const ask = async (): Promise<string> =>
      (await splitplane('call', running.uri('recorder'), 'Get')).errors.replace(/:.*/s, '');
    expect(await ask()).toBe('splitplane');
    const reload = async (text: string, says: RegExp): Promise<void> => {
      makeTree(directory, { 'policy.xml': text });
      const before = running.log.length;
      running.command.signal('SIGHUP');
      const isLine = ({ source, text: line }: Json): boolean =>
        source === 'security' && says.test(line as string);
      await running.command.until(() => running.log.slice(before).some(isLine));
    };
    await reload(policyOf(register, allow), /^The policy was read again\.$/);
    expect(await ask()).toBe('');
    await reload('<policy', /^The policy in force stays: .*policy\.xml:1:\d+: /);
    expect(await ask()).toBe('');
  });
});

describe('a runtime that no network reaches', () => {
  test('goes on until it is told to end, although nothing but services keeps it', async () => {
    const regions = '<service name="regions" builtin="memory"/>';
    const { directory, manifest } = makeManifest(manifestOf(regions));
    const policy = '<policy xmlns="urn:splitplane:policy:1"><allow roles="*" register="regions"/></policy>';
    makeTree(directory, { 'policy.xml': policy });
    const running = await Running.of(manifest);
    // Reading a file takes turns of the event loop, after which a process that nothing keeps has ended.
    for (const times of [1, 2, 3]) {
      running.command.signal('SIGHUP');
      const isLine = ({ text }: Json): boolean => text === 'The policy was read again.';
      await running.command.until(() => running.log.filter(isLine).length === times);
    }
    expect(await running.command.end('SIGTERM')).toBe(0);
  });
});

describe('services that do not start', () => {
  test('are told, and the others go on', async () => {
    const running = await Running.start({ text: manifestOf(unsecured, network, broken, recorder) });
    expect(running.facts['services']).toMatchObject([
      { name: 'recorder', state: 'running' },
      { name: 'broken', state: 'failed', problem: expect.stringContaining('missing.mjs') as string },
    ]);
    const { code, json } = await splitplane('call', running.uri('recorder'), 'Get', '--json');
    expect({ code, json }).toMatchObject({ code: 0, json: [{ content: { frames: '0' } }] });
  });

  test('end it with 1 when none is left', async () => {
    const { manifest } = makeManifest(manifestOf(unsecured, network, broken));
    const { code, errors } = await splitplane('run', manifest);
    expect(code).toBe(1);
    expect(errors).toMatch(/^splitplane: None of the services of .*manifest\.xml runs/);
  });
});

describe('--check', () => {
  test('says that a manifest is right, and runs nothing', async () => {
    const { manifest } = makeManifest(manifestOf(unsecured, network, recorder));
    const { code, lines, errors } = await splitplane('run', manifest, '--check');
    expect({ code, lines, errors }).toEqual({
      code: 0,
      lines: [`${manifest} is right: test, 1 service.`],
      errors: '',
    });
  });

  test('prints every problem with its line and column', async () => {
    const { manifest } = makeManifest(
      manifestOf('<security off="perhaps"/>', '<service nam="x" module="./recorder.mjs"/>'),
    );
    const people = await splitplane('run', manifest, '--check');
    expect(people.code).toBe(1);
    expect(people.lines.map((line) => line.replace(/ .*/, ''))).toEqual(
      ['2:11', '3:1', '3:10'].map((place) => `${manifest}:${place}:`),
    );
    expect(people.errors).toContain('3 problems');
    const programs = await splitplane('run', manifest, '--check', '--json');
    expect(programs.json.map(({ problem }) => problem)).toMatchObject([
      { file: manifest, line: 2, column: 11 },
      { file: manifest, line: 3, column: 1 },
      { file: manifest, line: 3, column: 10 },
    ]);
    expect(JSON.parse(programs.errors)).toMatchObject({ error: { code: 'MANIFEST_INVALID' } });
  });

  test('looks at what the manifest names, too: policy, modules, built-in services', async () => {
    const { directory, manifest } = makeManifest(
      manifestOf(network, broken, '<service name="odd" builtin="odd"/>', recorder),
    );
    const none = await splitplane('run', manifest, '--check');
    expect(none.code).toBe(1);
    const policy = join(directory, 'policy.xml');
    expect(none.lines).toEqual([
      expect.stringMatching(/policy\.xml:1:1: There is no such policy/),
      expect.stringContaining(
        `${manifest}:3:1: The module of broken, ${directory}/missing.mjs, cannot be read`,
      ),
      expect.stringContaining(`${manifest}:4:1: No built-in service is called odd`),
    ]);
    makeTree(directory, { 'policy.xml': '<policy xmlns="urn:splitplane:policy:1">\n<allow/></policy>' });
    const wrong = await splitplane('run', manifest, '--check');
    expect(wrong.lines[0]).toMatch(`${policy}:2:1: `);
  });

  test('without --check, what is wrong is told the same way, and nothing runs', async () => {
    const { manifest } = makeManifest(manifestOf('<service name="x"/>'));
    const { code, lines } = await splitplane('run', manifest);
    expect(code).toBe(1);
    expect(lines).toEqual([expect.stringContaining(`${manifest}:2:1: `)]);
  });

  test('a manifest that is not there', async () => {
    const { code, errors } = await outcomeOf(new Command(['run', '/nowhere/manifest.xml', '--check']));
    expect(code).toBe(1);
    expect(errors).toMatch(/manifest \/nowhere\/manifest\.xml cannot be read/);
  });
});
