// Proves policies: what is written arrives, everything that is wrong is told at once with its place, patterns match no more
// than they show, and xmllint, by the schema for editors, never refuses the structure of what is accepted here.

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CREDENTIALS_MAX,
  MEMBERS_MAX,
  parsePolicy,
  POLICY_NAMESPACE,
  PolicyError,
  ROLES_MAX,
  RULES_MAX,
} from '../../../lib/runtime/policy.js';
import { VERBS } from '../../../lib/runtime/verbs.js';
import { judge } from '../../support/xmllint.js';

const HASH = 'ab'.repeat(32);
const policy = (inside: string): string => `<policy xmlns="${POLICY_NAMESPACE}">\n${inside}\n</policy>`;
const rule = (attributes: string): string => policy(`<allow ${attributes}/>`);
const member = (principal: string): string =>
  policy(`<role name="r"><member principal="${principal}"/></role>`);

const FULL = policy(`
  <deny roles="*" verbs="*" contract="urn:example:secret:1 urn:example:secret:2"/>
  <role name="operators">
    <member principal="uid:0"/><member principal="alice@example"/><member principal="service:*"/>
    <member principal="service:cameras/*"/><member principal="local"/><member principal="runtime"/>
  </role>
  <principal name="alice@example" credential-sha256="${HASH}"/>
  <principal name="alice@example" credential-sha256="${HASH.replace('a', '0')}"/>
  <role name="guests"/>
  <allow roles="operators guests" verbs="Get Query" path="/camera /cameras/* /*"/>
  <allow roles="operators" register="camera cameras/* *"/>`);

function refusal(text: string): PolicyError {
  try {
    parsePolicy(text, 'policy.xml');
  } catch (error) {
    if (error instanceof PolicyError) return error;
    throw error;
  }
  throw new Error(`the policy was accepted: ${text}`);
}

test('a policy arrives as it is written, in any order', () => {
  const { roles, credentials, rules, source } = parsePolicy(FULL, 'policy.xml');
  expect(source).toBe('policy.xml');
  expect([...roles]).toEqual([
    ['operators', ['uid:0', 'alice@example', 'service:*', 'service:cameras/*', 'local', 'runtime']],
    ['guests', []],
  ]);
  expect(credentials).toEqual([
    { principal: 'alice@example', sha256: HASH },
    { principal: 'alice@example', sha256: HASH.replace('a', '0') },
  ]);
  expect(rules).toEqual([
    {
      effect: 'deny',
      roles: ['*'],
      subject: {
        kind: 'contract',
        verbs: ['*'],
        contracts: ['urn:example:secret:1', 'urn:example:secret:2'],
      },
      at: { line: 3, column: 3 },
    },
    {
      effect: 'allow',
      roles: ['operators', 'guests'],
      subject: { kind: 'path', verbs: ['Get', 'Query'], paths: ['/camera', '/cameras/*', '/*'] },
      at: { line: 11, column: 3 },
    },
    {
      effect: 'allow',
      roles: ['operators'],
      subject: { kind: 'register', names: ['camera', 'cameras/*', '*'] },
      at: { line: 12, column: 3 },
    },
  ]);
});

test('an empty policy is a policy, and has no rule', () => {
  expect(parsePolicy(policy(''), 'p').rules).toEqual([]);
});

const AGAINST_THE_SCHEMA: readonly (readonly [string, string, RegExp])[] = [
  ['nothing', '', /no element|well-formed/],
  ['a manifest', '<manifest xmlns="urn:splitplane:manifest:1" name="m"/>', /root element is <manifest>/],
  ['an unknown element', policy('<permit/>'), /does not take <permit>/],
  ['an unknown attribute', rule('roles="*" verbs="*" path="/*" unless="x"'), /no attribute "unless"/],
  ['text', policy('allow everything'), /<policy> holds text/],
  ['no roles', rule('verbs="*" path="/*"'), /lacks its attribute roles/],
  ['roles of nothing', rule('roles="" verbs="*" path="/*"'), /roles="" is not a list/],
  ['roles with commas', rule('roles="a,b" verbs="*" path="/*"'), /is not a list/],
  ['an unknown verb', rule('roles="*" verbs="Get Put" path="/*"'), /"Get Put" is not a list/],
  ['a verb in small letters', rule('roles="*" verbs="get" path="/*"'), /"get" is not a list/],
  ['a path without its slash', rule('roles="*" verbs="*" path="camera"'), /"camera" is not a list/],
  ['a path that ends in a slash', rule('roles="*" verbs="*" path="/camera/"'), /is not a list/],
  ['a star behind letters', rule('roles="*" verbs="*" path="/camera*"'), /is not a list/],
  ['a star in the middle', rule('roles="*" verbs="*" path="/*/camera"'), /is not a list/],
  ['two stars', rule('roles="*" verbs="*" path="/**"'), /is not a list/],
  ['a star alone for a path', rule('roles="*" verbs="*" path="*"'), /is not a list/],
  ['a step up', rule('roles="*" verbs="*" path="/public/../*"'), /is not a list/],
  ['an empty part', rule('roles="*" verbs="*" path="//camera"'), /is not a list/],
  ['an escape', rule('roles="*" verbs="*" path="/%63amera"'), /is not a list/],
  ['a pattern of contracts', rule('roles="*" verbs="*" contract="*"'), /is not a list/],
  ['a name with a slash before it', rule('roles="*" register="/camera"'), /is not a list/],
  ['a role twice', policy('<role name="r"/><role name="r"/>'), /name="r" is taken by line 2/],
  ['a role of everybody', policy('<role name="*"/>'), /name="\*" is not a name/],
  ['a member of nothing', policy('<role name="r"><member/></role>'), /lacks its attribute principal/],
  ['a member that is everybody', member('*'), /is not a principal/],
  ['members by the beginning of a name', member('al*'), /is not a principal/],
  ['members by a part of a name', member('service:cam*'), /is not a principal/],
  ['a user by name', member('uid:root'), /is not a principal/],
  ['an unknown kind of principal', member('servce:*'), /is not a principal/],
  [
    'a credential in capitals',
    policy(`<principal name="a" credential-sha256="${HASH.toUpperCase()}"/>`),
    /64 lower/,
  ],
  ['half a credential', policy(`<principal name="a" credential-sha256="${HASH.slice(32)}"/>`), /64 lower/],
  [
    'a credential of two',
    policy(['a', 'b'].map((name) => `<principal name="${name}" credential-sha256="${HASH}"/>`).join('')),
    /credential-sha256="(?:ab)*" is taken/,
  ],
  [
    'a service with a credential',
    policy(`<principal name="service:a" credential-sha256="${HASH}"/>`),
    /not a name/,
  ],
  ['a user with a credential', policy(`<principal name="uid:0" credential-sha256="${HASH}"/>`), /not a name/],
];

const BEYOND_THE_SCHEMA: readonly (readonly [string, string, RegExp])[] = [
  ['an entity bomb', `<!DOCTYPE p [<!ENTITY a "b">]>${policy('')}`, /document type declaration/],
  ['an unknown role', rule('roles="operator" verbs="*" path="/*"'), /There is no role "operator"/],
  ['a verb twice', rule('roles="*" verbs="Get Get" path="/*"'), /each once/],
  ['a path and a contract', rule('roles="*" verbs="*" path="/*" contract="urn:a"'), /Write just one/],
  ['a path and a name', rule('roles="*" verbs="*" path="/*" register="*"'), /Write just one/],
  ['a rule about nothing', rule('roles="*" verbs="*"'), /Write just one/],
  ['a path without verbs', rule('roles="*" path="/*"'), /lacks its verbs/],
  ['verbs for a name', rule('roles="*" verbs="Get" register="*"'), /takes no verbs/],
  ['a member that nobody can be', member('alice'), /Nobody can be "alice"/],
  [
    'the credential of nothing',
    policy(
      `<principal name="a" credential-sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"/>`,
    ),
    /SHA-256 of nothing/,
  ],
  ...['local', 'anonymous', 'runtime', 'program'].map(
    (name) =>
      [
        `a credential for ${name}`,
        policy(`<principal name="${name}" credential-sha256="${HASH}"/>`),
        /and not runtime, program, local, anonymous/,
      ] as const,
  ),
];

describe('what is refused', () => {
  test.each([...AGAINST_THE_SCHEMA, ...BEYOND_THE_SCHEMA])('%s', (_what, text, message) => {
    const error = refusal(text);
    expect(error.message).toMatch(message);
    expect(error.code).toBe('POLICY_INVALID');
  });

  test('all at once, in the order of the document', () => {
    const text = policy(
      '<allow roles="x" verbs="*" path="/*"/>\n<role name=""/>\n<deny roles="*" verbs="*" path=""/>',
    );
    expect(refusal(text).problems.map(({ line, column }) => [line, column])).toEqual([
      [2, 8],
      [3, 7],
      [4, 27],
    ]);
  });

  const many = (count: number, item: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => item(i)).join('');
  test.each([
    [
      'rules',
      RULES_MAX,
      (i: number) => (i % 2 ? '<allow' : '<deny') + ' roles="*" register="*"/>',
      /more than 4096 rules/,
    ],
    ['roles', ROLES_MAX, (i: number) => `<role name="r${i}"/>`, /at most 1024 <role>/],
    [
      'credentials',
      CREDENTIALS_MAX,
      (i: number) => `<principal name="p" credential-sha256="${i.toString(16).padStart(64, '0')}"/>`,
      /at most 4096 <principal>/,
    ],
  ])('more %s than there may be', (_what, max, item, message) => {
    expect(refusal(policy(many(max + 1, item))).message).toMatch(message);
    expect(parsePolicy(policy(many(max, item)), 'p').source).toBe('p');
  });

  test('more members than there may be', () => {
    const role = (count: number): string =>
      policy(`<role name="r">${many(count, (i) => `<member principal="uid:${i}"/>`)}</role>`);
    expect(refusal(role(MEMBERS_MAX + 1)).message).toMatch(/at most 16384 <member>/);
    expect(parsePolicy(role(MEMBERS_MAX), 'p').roles.get('r')).toHaveLength(MEMBERS_MAX);
  });
});

describe('xmllint, by docs/policy.xsd', () => {
  test('accepts what is accepted here, and refuses what the schema can say', () => {
    const examples = [FULL, policy(''), rule('roles="*" verbs="* Get" path="/*"')];
    for (const example of examples) expect(parsePolicy(example, 'p').source).toBe('p');
    expect(judge('policy.xsd', examples)).toEqual([true, true, true]);
    const verdicts = judge(
      'policy.xsd',
      AGAINST_THE_SCHEMA.map(([, text]) => text),
    );
    expect(AGAINST_THE_SCHEMA.filter((_, i) => verdicts[i]).map(([what]) => what)).toEqual([]);
  });

  test('the limits, verbs and namespace in it are those of the code', () => {
    const schema = readFileSync(new URL('../../../docs/policy.xsd', import.meta.url), 'utf8');
    expect(schema).toContain(`targetNamespace="${POLICY_NAMESPACE}"`);
    for (const max of [RULES_MAX, ROLES_MAX, CREDENTIALS_MAX, MEMBERS_MAX]) {
      expect(schema).toContain(max.toLocaleString('en'));
    }
    const words = [...schema.matchAll(/<xs:enumeration value="([^"]*)"/g)].map(([, word]) => word);
    expect(words).toEqual(['*', ...VERBS]);
  });

  const value = fc.oneof(
    fc.constantFrom(
      '*',
      '/*',
      'a',
      'r',
      '/a',
      '/a/*',
      'a/*',
      'Get',
      'Get Put',
      'urn:a',
      '',
      'local',
      'uid:1',
      HASH,
    ),
    fc.string({ unit: fc.constantFrom('/', '*', '.', 'a', ' ', ':'), maxLength: 6 }),
  );
  const attribute = (name: string): fc.Arbitrary<string> => value.map((v) => ` ${name}="${v}"`);
  const attributes = fc
    .uniqueArray(
      fc.constantFrom(
        'name',
        'roles',
        'verbs',
        'path',
        'contract',
        'register',
        'principal',
        'credential-sha256',
      ),
      { maxLength: 3 },
    )
    .chain((names) => fc.tuple(...names.map(attribute)))
    .map((all) => all.join(''));
  const patternRule = fc
    .tuple(fc.constantFrom('allow', 'deny'), fc.constantFrom('verbs="*" path', 'register'), value)
    .map(([effect, what, pattern]) => `<${effect} roles="*" ${what}="${pattern}"/>`);
  const part = fc.oneof(
    fc.constantFrom('<deny roles="*" register="a/*"/>', '<allow roles="*" verbs="Get *" path="/* /a"/>'),
    patternRule,
    attribute('principal').map((a) => `<role name="r"><member${a}/></role>`),
    fc
      .tuple(fc.constantFrom('allow', 'deny', 'role', 'principal', 'member'), attributes)
      .map(([name, a]) => `<${name}${a}/>`),
  );

  test('never refuses what is accepted here, whatever is written', () => {
    const sample = fc.sample(
      fc.array(part, { maxLength: 2 }).map((parts) => policy(parts.join(''))),
      600,
    );
    const verdicts = judge('policy.xsd', sample);
    const accepted = sample.map((text) => {
      try {
        return parsePolicy(text, 'p').rules.length;
      } catch (error) {
        if (error instanceof PolicyError) return undefined;
        throw error;
      }
    });
    expect(sample.filter((_, i) => accepted[i] !== undefined && verdicts[i] === false)).toEqual([]);
    // And the sample has both, or the line above says nothing.
    expect(accepted.filter((rules) => (rules ?? 0) > 0).length).toBeGreaterThan(5);
    expect(verdicts.filter((isValid) => !isValid).length).toBeGreaterThan(5);
  });
});

test('the example in docs/POLICY.md is a policy, here and for xmllint', () => {
  const page = readFileSync(new URL('../../../docs/POLICY.md', import.meta.url), 'utf8');
  const [example = ''] = [...page.matchAll(/^```xml\n(.*?)^```/gms)].map(([, text]) => text);
  expect(parsePolicy(example, 'p').rules).toHaveLength(4);
  expect(judge('policy.xsd', [example])).toEqual([true]);
});
