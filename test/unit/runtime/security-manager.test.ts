// Proves what the security manager decides: what the rules say, remembered or not, under any path that an attacker may write.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parsePolicy } from '../../../lib/runtime/policy.js';
import { DECISIONS_MAX, type Decision, type MessageAccess } from '../../../lib/runtime/security-manager.js';
import { VERBS, type Verb } from '../../../lib/runtime/verbs.js';
import { ALICE, managerOf, may, policy } from './policies.js';

describe('step 430: the security manager approves or refuses the registration', () => {
  test('by the names that roles may register', async () => {
    const manager = await managerOf(
      `<role name="cameras"><member principal="service:cameras/*"/></role>
       <allow roles="cameras" register="cameras/*"/><deny roles="*" register="cameras/secret"/>`,
    );
    expect(manager.registration('service:cameras/1', 'cameras/1').allowed).toBe(true);
    expect(manager.registration('service:cameras/1', 'cameras').allowed).toBe(false);
    expect(manager.registration('service:cameras/1', 'cameras/secret').allowed).toBe(false);
    expect(manager.registration('service:other', 'cameras/1')).toEqual({
      allowed: false,
      reason: 'service:other may not register /cameras/1. Ask whoever runs that runtime for the right.',
    });
    expect(manager.registration('service:cameras/1', 'cameras/../x').allowed).toBe(false);
    // A right to register is none to send, and the other way round.
    expect(may(manager, 'cameras/1', { principal: 'service:cameras/1' })).toBe(false);
    const sender = await managerOf('<allow roles="*" verbs="*" path="/*"/>');
    expect(sender.registration('alice', 'a').allowed).toBe(false);
  });
});

describe('what the rules mean', () => {
  test('without rules nothing is allowed', async () => {
    const manager = await managerOf('');
    expect(may(manager, 'camera')).toBe(false);
    expect(manager.registration('alice', 'camera').allowed).toBe(false);
    expect(manager.memory({ principal: 'alice', path: 'camera', contract: undefined }).allowed).toBe(false);
  });

  test('what is denied by one rule is denied, whatever others allow and wherever it stands', async () => {
    const deny = '<deny roles="*" verbs="Delete" path="/files/*"/>';
    const allow = `${ALICE}<allow roles="staff" verbs="*" path="/*"/>`;
    for (const inside of [deny + allow, allow + deny]) {
      const manager = await managerOf(inside);
      expect(may(manager, 'files/a')).toBe(true);
      expect(may(manager, 'files/a', { verb: 'Delete' })).toBe(false);
      expect(may(manager, 'files', { verb: 'Delete' })).toBe(true);
    }
  });

  test('patterns end at parts of a name, and have no other magic', async () => {
    const manager = await managerOf(`${ALICE}<allow roles="staff" verbs="Get" path="/a.c /camera/*"/>`);
    for (const path of ['a.c', '/a.c', 'camera/1', 'camera/1/2', '/camera/1']) {
      expect([path, may(manager, path)]).toEqual([path, true]);
    }
    for (const path of [
      'abc',
      'a.c/d',
      'camera',
      'camera/',
      'camera-secret',
      'cameras/1',
      'x/camera/1',
      'A.C',
      '',
    ]) {
      expect([path, may(manager, path)]).toEqual([path, false]);
    }
  });

  test('roles, verbs and contracts are compared whole', async () => {
    const manager = await managerOf(
      `<role name="users"><member principal="uid:1"/></role><role name="locals"><member principal="uid:*"/></role>
       <allow roles="users" verbs="Get" path="/a"/><allow roles="locals" verbs="Query" contract="urn:x:1"/>`,
    );
    expect(may(manager, 'a', { principal: 'uid:1' })).toBe(true);
    for (const principal of ['uid:10', 'uid:', 'uid:1 ', 'UID:1', 'users', '*']) {
      expect([principal, may(manager, 'a', { principal })]).toEqual([principal, false]);
    }
    const query = { principal: 'uid:7', verb: 'Query' } as const;
    expect(may(manager, 'b', { ...query, contract: 'urn:x:1' })).toBe(true);
    expect(may(manager, 'b', { ...query, contract: 'urn:x:10' })).toBe(false);
    expect(may(manager, 'b', query)).toBe(false);
    expect(may(manager, 'b', { ...query, verb: 'Get', contract: 'urn:x:1' })).toBe(false);
  });

  test('an action that is none of DSSP’s is covered by * alone', async () => {
    const all = VERBS.join(' ');
    const manager = await managerOf(
      `<allow roles="*" verbs="${all}" path="/a"/><allow roles="*" verbs="*" path="/b"/>`,
    );
    expect(may(manager, 'a', { verb: undefined })).toBe(false);
    expect(may(manager, 'b', { verb: undefined })).toBe(true);
  });

  test('who may not Get a service cannot resolve its buffers, by path or by contract', async () => {
    const manager = await managerOf(
      `<allow roles="*" verbs="Submit" path="/*"/><allow roles="*" verbs="Get" path="/open /both"/>
       <deny roles="*" verbs="Get" contract="urn:secret"/>`,
    );
    const memory = (path: string, contract?: string): Decision =>
      manager.memory({ principal: 'alice', path, contract });
    expect(memory('open').allowed).toBe(true);
    expect(memory('both', 'urn:secret').allowed).toBe(false);
    expect(memory('closed')).toEqual({
      allowed: false,
      reason:
        'alice may not Get, so cannot resolve the buffers of, /closed. Ask whoever runs that runtime for the right.',
    });
  });

  test('a refusal says nothing of the policy', async () => {
    const manager = await managerOf(`${ALICE}<deny roles="staff" verbs="Get" contract="urn:secret"/>`);
    const { reason } = manager.message({
      principal: 'alice',
      verb: 'Get',
      path: 'a',
      contract: 'urn:secret',
    });
    expect(reason).toBe('alice may not Get /a. Ask whoever runs that runtime for the right.');
  });
});

describe('an attacker', () => {
  const open = '<allow roles="*" verbs="*" path="/public/*"/>';

  test.each([
    ...['public/../secret', 'public/..', 'public/../public/a/../../secret', '..', 'public/./a', './public/a'],
    ...[
      '/public//a',
      '//public/a',
      'public/a/',
      'public/%2e%2e/secret',
      'public%2Fa',
      'public/a%00',
      '%70ublic/a',
    ],
    ...[
      'public/a?b',
      'public/a#b',
      'public/a;b',
      'public\\a',
      'public/\u0000',
      'public/a\n',
      'public/a\r\nallow',
    ],
    ...[
      'PUBLIC/a',
      'Public/a',
      'ｐublic/a',
      'public/a\u200b',
      'public∕a',
      'public/é',
      'public/\ud800',
      'publi',
      '',
    ],
    ...[' public/a', 'public/a ', 'public/*', '*', '/*', 'dos:///public/a', `public/${'a'.repeat(300)}`],
  ])('gets nowhere with the path %j', async (path) => {
    const manager = await managerOf(open);
    for (const form of [path, `/${path}`, `public/a/../${path}`]) {
      for (const verb of [...VERBS, undefined]) expect(may(manager, form, { verb })).toBe(false);
    }
    // Nor has the right path suffered.
    expect(may(manager, 'public/a')).toBe(true);
  });

  test('is allowed only names of services that begin as the rule says', async () => {
    const manager = await managerOf(open);
    const piece = fc.constantFrom('public', 'secret', '/', '.', '..', '%2e', 'a', '\n', '*', '//', 'é');
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(piece).map((p) => p.join('')),
          fc.string({ unit: 'binary' }),
        ),
        (path) => {
          if (!may(manager, path)) return;
          // What a reader of URIs would make of it is the same.
          expect(new URL(path.replace(/^\/?/, '/'), 'http://h').pathname.slice(1)).toBe(
            path.replace(/^\//, ''),
          );
          expect(path).toMatch(/^\/?public\/[^/]/);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('cannot drive out what others use, nor keep anything for ever', async () => {
    const manager = await managerOf('<allow roles="*" verbs="*" path="/*"/>');
    const last = () => manager.audit.entries().at(-1)?.path;
    expect(may(manager, 'once')).toBe(true);
    expect(may(manager, 'often')).toBe(true);
    for (let i = 0; i < 3 * DECISIONS_MAX; i++) {
      may(manager, `random/${i}`, { principal: 'anonymous' });
      if (i % 1000 !== 0) continue;
      // A decision that was made anew would be the last entry of the log.
      expect(may(manager, 'often')).toBe(true);
      expect(last()).toBe(`/random/${i}`);
    }
    expect(may(manager, 'once')).toBe(true);
    expect(last()).toBe('/once');
  });

  test('gains nothing from decisions about a service whose name another one has now', async () => {
    const manager = await managerOf(
      '<allow roles="*" verbs="*" path="/*"/><deny roles="*" verbs="*" contract="urn:b"/>',
    );
    expect(may(manager, 'a', { contract: 'urn:a' })).toBe(true);
    expect(may(manager, 'a', { contract: 'urn:b' })).toBe(false);
    // However long ago they were made.
    expect(may(manager, 'c', { contract: 'urn:a' })).toBe(true);
    for (let i = 0; i < DECISIONS_MAX; i++) may(manager, `random/${i}`);
    expect(may(manager, 'c', { contract: 'urn:b' })).toBe(false);
  });

  test('cannot write lines of his own into the log', async () => {
    const manager = await managerOf('');
    const path = 'x","decision":"allowed"}\n{"time":"now","decision":"allowed","path":"/x';
    expect(may(manager, path)).toBe(false);
    const [entry, ...rest] = manager.audit.entries();
    expect(rest).toEqual([]);
    expect(entry).toMatchObject({ decision: 'refused', path });
    expect(may(manager, 'a'.repeat(1_000_000))).toBe(false);
    expect(manager.audit.entries().at(-1)?.path).toHaveLength(259);
  });
});

/** The rules by the letter, without anything that is there for speed. */
interface Letter {
  readonly effect: 'allow' | 'deny';
  readonly roles: readonly string[];
  readonly verbs: readonly string[];
  readonly path?: string;
  readonly contract?: string;
}
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  r1: ['uid:1', 'local'],
  r2: ['uid:1', 'uid:2'],
};
const ROLES = Object.entries(MEMBERS)
  .map(
    ([name, members]) =>
      `<role name="${name}">${members.map((m) => `<member principal="${m}"/>`).join('')}</role>`,
  )
  .join('');

function byTheLetter(rules: readonly Letter[], { principal, verb, path, contract }: MessageAccess): boolean {
  const applying = rules.filter((rule) => {
    const concerns = rule.roles.some((role) => role === '*' || MEMBERS[role]?.includes(principal) === true);
    const covers = rule.verbs.includes('*') || (verb !== undefined && rule.verbs.includes(verb));
    const name = rule.path?.slice(1);
    const matches =
      name === undefined
        ? rule.contract === contract
        : name.endsWith('*')
          ? path.startsWith(name.slice(0, -1))
          : path === name;
    return concerns && covers && matches;
  });
  return applying.length > 0 && applying.every(({ effect }) => effect === 'allow');
}

test('every decision is what the rules say, asked once or often, before and after changes', async () => {
  const manager = await managerOf('');
  const verb = fc.constantFrom<Verb>('Get', 'Query', 'Drop');
  const rules = fc.array(
    fc.record(
      {
        effect: fc.constantFrom('allow', 'allow', 'deny'),
        roles: fc.uniqueArray(fc.constantFrom('*', 'r1', 'r2'), { minLength: 1 }),
        verbs: fc.uniqueArray(fc.oneof(verb, fc.constant('*')), { minLength: 1 }),
        subject: fc.oneof(
          fc.record({ path: fc.constantFrom('/a', '/a/*', '/a/b', '/*', '/b/*') }),
          fc.record({ contract: fc.constantFrom('urn:1', 'urn:2') }),
        ),
      },
      { noNullPrototype: true },
    ),
    { maxLength: 5 },
  );
  const accesses = fc.array(
    fc.record<MessageAccess>({
      principal: fc.constantFrom('uid:1', 'uid:2', 'local', 'anonymous'),
      verb: fc.option(verb, { nil: undefined }),
      path: fc.constantFrom('a', 'a/b', 'b', 'b/c', 'ab'),
      contract: fc.constantFrom('urn:1', 'urn:2', undefined),
    }),
    { minLength: 10, maxLength: 60 },
  );
  let allowed = 0;
  fc.assert(
    fc.property(rules, accesses, (drawn, asked) => {
      const letters = drawn.map(({ subject, ...rest }): Letter => ({ ...rest, ...subject }));
      const written = letters.map(({ effect, roles, verbs, path, contract }) => {
        const subject = path === undefined ? `contract="${contract}"` : `path="${path}"`;
        return `<${effect} roles="${roles.join(' ')}" verbs="${verbs.join(' ')}" ${subject}/>`;
      });
      manager.replace(parsePolicy(policy(ROLES + written.join('')), 'p'));
      for (const access of [...asked, ...asked]) {
        const expected = byTheLetter(letters, access);
        expect(manager.message(access).allowed).toBe(expected);
        if (access.verb === 'Get') expect(manager.memory(access).allowed).toBe(expected);
        if (expected) allowed++;
      }
    }),
  );
  expect(allowed).toBeGreaterThan(0);
});
