// Proves the security service: it shows the policy in force and what was decided, says what would be without noting it, and has the
// policy read anew; and the runtime's own services are governed by the policy like any other, down to the names that may be created.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import {
  Console,
  Constructor,
  Directory,
  ManifestLoader,
  Memory,
  Security,
  type Runtime,
} from '../../../../lib/runtime/index.js';
import { startDialing, startListening, startRuntime, subcode } from '../../../support/runtimes.js';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** A file with this policy; the answer writes another. */
function policyFile(rules: string): { path: string; readonly write: (rules: string) => void } {
  const folder = mkdtempSync(join(tmpdir(), 'security-'));
  folders.push(folder);
  const path = join(folder, 'policy.xml');
  const write = (inside: string): void =>
    writeFileSync(path, `<policy xmlns="urn:splitplane:policy:1">\n${inside}\n</policy>\n`, { mode: 0o600 });
  write(rules);
  return { path, write };
}

const OPERATOR = '<role name="operators"><member principal="program"/></role>';
const ALL = `${OPERATOR}<allow roles="operators" verbs="*" path="/*"/><allow roles="*" register="memory/*"/>`;
const securityOf = (home: Runtime) => home.proxy(Security, `${home.prefix}security`);

test('the policy in force is shown, rule by rule and line by line', async () => {
  const { path } = policyFile(`<principal name="alice" credential-sha256="${'ab'.repeat(32)}"/>
${OPERATOR}
<role name="friends"><member principal="alice"/><member principal="uid:*"/></role>
<allow roles="operators" verbs="*" path="/*"/>
<allow roles="friends operators" verbs="Get Query" contract="urn:a urn:b"/>
<deny roles="*" register="secret/*"/>`);
  const runtime = await startRuntime({ security: { off: false, policy: path } });
  const told = await securityOf(runtime).get();
  expect({ ...told }).toEqual({
    off: false,
    source: path,
    ruleCount: 3,
    members: [
      { role: 'operators', principal: 'program' },
      { role: 'friends', principal: 'alice' },
      { role: 'friends', principal: 'uid:*' },
    ],
    credentials: ['alice'],
    unlisted: 0,
    auditDropped: 0,
  });
  const none = { verbs: [], paths: [], contracts: [], names: [] };
  const { rules } = await securityOf(runtime).rules();
  expect(rules.map((rule) => ({ ...rule }))).toEqual([
    { ...none, effect: 'allow', line: 5, roles: ['operators'], verbs: ['*'], paths: ['/*'] },
    {
      ...none,
      effect: 'allow',
      line: 6,
      roles: ['friends', 'operators'],
      verbs: ['Get', 'Query'],
      contracts: ['urn:a', 'urn:b'],
    },
    { ...none, effect: 'deny', line: 7, roles: ['*'], names: ['secret/*'] },
  ]);
  const first = await securityOf(runtime).rules({ limit: 2 });
  expect(first.next).toBe(2);
  expect((await securityOf(runtime).rules({ after: first.next })).rules.map(({ line }) => line)).toEqual([7]);
});

test('where security is off that is what is shown, and everything may be done', async () => {
  const runtime = await startRuntime();
  expect(await securityOf(runtime).get()).toMatchObject({ off: true, ruleCount: 0, members: [] });
  const judged = await securityOf(runtime).judge({ principal: 'anonymous', verb: 'Drop', path: '/x' });
  expect({ ...judged }).toEqual({ allowed: true });
  await securityOf(runtime).reload();
});

test('what would be decided is told with the rule, and is not noted', async () => {
  const { path } = policyFile(`${OPERATOR}
<allow roles="operators" verbs="*" path="/*"/>
<allow roles="*" verbs="Query" contract="${Directory.uri}"/>
<deny roles="*" verbs="Drop" path="/camera"/>`);
  const runtime = await startRuntime({ security: { off: false, policy: path } });
  const proxy = securityOf(runtime);
  const judge = async (principal: string, verb: 'Get' | 'Query' | 'Drop', at: string) => {
    const { allowed, rule } = await proxy.judge({ principal, verb, path: at });
    return [allowed, rule];
  };
  const before = (await proxy.audit()).entries.length;
  expect(await judge('program', 'Get', '/anything')).toEqual([true, 3]);
  expect(await judge('local', 'Query', '/directory')).toEqual([true, 4]);
  expect(await judge('local', 'Query', '/console')).toEqual([false, undefined]);
  expect(await judge('program', 'Drop', '/camera')).toEqual([false, 5]);
  expect((await proxy.audit()).entries).toHaveLength(before);
  for (const bad of ['', 'camera', '/', '/../x', '//a']) {
    expect(await subcode(proxy.judge({ principal: 'x', verb: 'Get', path: bad }))).toBe('OperationFailed');
  }
});

test('the audit log is shown, filtered, the newest of it in the order of time', async () => {
  const { path } = policyFile(ALL);
  const runtime = await startListening({ security: { off: false, policy: path } });
  const away = await startDialing();
  expect(await subcode(away.proxy(Directory, `${runtime.prefix}directory`).query())).toBe('PermissionDenied');
  expect(await subcode(away.proxy(Console, `${runtime.prefix}console`).write({ lines: ['x'] }))).toBe(
    'PermissionDenied',
  );
  const proxy = securityOf(runtime);
  const refused = (await proxy.audit({ decision: 'refused' })).entries;
  expect(refused.map(({ principal, verb, path: at }) => [principal, verb, at])).toEqual([
    ['local', 'Query', '/directory'],
    ['local', 'Submit', '/console'],
  ]);
  expect((await proxy.audit({ decision: 'refused', limit: 1 })).entries).toMatchObject([
    { path: '/console' },
  ]);
  expect((await proxy.audit({ path: '/con', principal: 'local' })).entries).toHaveLength(1);
  expect((await proxy.audit({ kind: 'registration' })).entries).toEqual([]);
  expect((await proxy.audit({ kind: 'message', principal: 'program' })).entries).toMatchObject([
    { decision: 'allowed', path: '/security', rule: 2 },
  ]);
});

test('a policy that was changed is in force when reload is answered, and a broken one is not', async () => {
  const { path, write } = policyFile(ALL);
  const runtime = await startListening({ security: { off: false, policy: path } });
  const away = await startDialing();
  const ask = () => away.proxy(Directory, `${runtime.prefix}directory`).query();
  expect(await subcode(ask())).toBe('PermissionDenied');
  write(`${ALL}<allow roles="*" verbs="Query" path="/directory"/>`);
  await securityOf(runtime).reload();
  expect((await ask()).services.length).toBeGreaterThan(0);
  write('<stranger/>');
  expect(await subcode(securityOf(runtime).reload())).toBe('OperationFailed');
  expect((await ask()).services.length).toBeGreaterThan(0);
});

test('who may create may still register only the names that are its own to register', async () => {
  const { path } = policyFile(`${OPERATOR}<role name="services"><member principal="service:*"/></role>
<allow roles="operators" verbs="*" path="/*"/>
<allow roles="services" register="*"/>
<allow roles="operators" register="memory/*"/>`);
  const runtime = await startRuntime({ security: { off: false, policy: path } });
  const constructor = runtime.proxy(Constructor, 'dos:///constructor');
  const { name } = await constructor.create({ builtin: 'memory', partners: [] });
  expect(name).toMatch(/^memory\//);
  expect(await subcode(constructor.create({ builtin: 'memory', name: 'admin', partners: [] }))).toBe(
    'PermissionDenied',
  );
  const text = `<manifest xmlns="urn:splitplane:manifest:1" name="m">
<service name="memory/mine" builtin="memory"/><service name="admin" builtin="memory"/></manifest>`;
  const { services } = await runtime.proxy(ManifestLoader, 'dos:///manifest-loader').load({ text });
  expect(services.map(({ state }) => state)).toEqual(['running', 'failed']);
  expect(services[1]?.problem).toMatch(/may not register/);
});

test('who may list the regions of a memory service but not Get them cannot have their bytes', async () => {
  const { path } = policyFile(`${OPERATOR}<role name="services"><member principal="service:*"/></role>
<allow roles="operators services" verbs="*" path="/*"/>
<allow roles="services operators" register="*"/>
<allow roles="*" verbs="Query" path="/memory/*"/>`);
  const runtime = await startListening({ security: { off: false, policy: path } });
  const away = await startDialing();
  const constructor = runtime.proxy(Constructor, `${runtime.prefix}constructor`);
  const { uri } = await constructor.create({ builtin: 'memory', name: 'memory/a', partners: [] });
  await runtime.proxy(Memory, uri).insert({ name: 'secret', length: 8192 });
  const stranger = away.proxy(Memory, uri);
  expect((await stranger.query()).regions).toMatchObject([{ name: 'secret' }]);
  expect(await subcode(stranger.read({ name: 'secret' }))).toBe('PermissionDenied');
  expect(await subcode(stranger.remove({ name: 'secret' }))).toBe('PermissionDenied');
  await runtime.proxy(Memory, uri).remove({ name: 'secret' });
});
