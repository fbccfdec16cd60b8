// The policy of a runtime: its schema, and a policy as plain data. Which principals are in which roles, by which credentials
// peers prove to be somebody, and rules for messages and registrations. The schema for editors is docs/policy.xsd; both say the
// same. Knows how rules are written, not how they are applied.
import { SplitplaneError } from '../errors.js';
import type { XmlElement } from '../soap/infoset.js';
import {
  checkDocument,
  DocumentError,
  listOf,
  oneOf,
  readDocumentFile,
  textForm,
  type Checker,
  type DocumentKind,
  type Problem,
  type TextPlace,
} from './document.js';
import { isContractUri, isName } from './names.js';
import { VERBS, type Verb } from './verbs.js';

export const POLICY_NAMESPACE = 'urn:splitplane:policy:1';

/** Bytes of a policy. */
export const POLICY_BYTES_MAX = 8 << 20;
/** Rules of a policy: a decision that is not remembered looks at every one that concerns its principal. */
export const RULES_MAX = 4096;
export const ROLES_MAX = 1024;
/** Members of one role. */
export const MEMBERS_MAX = 16_384;
/** Credentials of a policy: a peer's is compared with every one. */
export const CREDENTIALS_MAX = 4096;

/** Everybody, every verb. */
export const ANY = '*';
/** Principals without a credential: a runtime, the program it is part of, a peer on this host, one of whom nothing is known. */
const RESERVED_PRINCIPALS: readonly string[] = ['runtime', 'program', 'local', 'anonymous'];

export type RuleVerb = Verb | typeof ANY;

/** What a rule is about. Patterns of paths and names are exact, or end in "*" after a "/" or alone. */
export type Subject =
  | {
      readonly kind: 'path';
      readonly verbs: readonly RuleVerb[];
      readonly paths: readonly string[];
    }
  | {
      readonly kind: 'contract';
      readonly verbs: readonly RuleVerb[];
      readonly contracts: readonly string[];
    }
  | { readonly kind: 'register'; readonly names: readonly string[] };

/** One line of the policy. The order of rules means nothing: what is denied by any is denied. */
export interface Rule {
  readonly effect: 'allow' | 'deny';
  /** Names of roles, or "*" for everybody. */
  readonly roles: readonly string[];
  readonly subject: Subject;
  readonly at: TextPlace;
}

export interface Credential {
  readonly principal: string;
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
}

/** Who may do what. Frozen. Without any rule nothing is allowed. */
export interface Policy {
  /** The file it came from, as it was named. */
  readonly source: string;
  /** The members of each role: principals, or patterns that end in "*" after a ":" or a "/". */
  readonly roles: ReadonlyMap<string, readonly string[]>;
  readonly credentials: readonly Credential[];
  readonly rules: readonly Rule[];
}

/** A policy that is none; its `problems` are all that is wrong with it. */
export class PolicyError extends DocumentError {
  constructor(source: string, problems: readonly Problem[]) {
    super('POLICY_INVALID', source, problems);
  }
}

const POLICY: DocumentKind = {
  what: 'policy',
  namespace: POLICY_NAMESPACE,
  root: 'policy',
  bytesMax: POLICY_BYTES_MAX,
  limits: {
    depthMax: 8,
    elementsMax: 200_000,
    attributesMax: 16,
    declarationsMax: 16,
    nameLengthMax: 256,
    namespaceLengthMax: 1024,
  },
  error: PolicyError,
};

const PLAIN_NAME = /^[A-Za-z0-9._~@-]{1,255}$/;
const ROLE = textForm((text) => PLAIN_NAME.test(text), 'a name: letters, digits, ".", "_", "~", "@" and "-"');
const PRINCIPAL = textForm(
  (text) => PLAIN_NAME.test(text) && !RESERVED_PRINCIPALS.includes(text),
  `a name: letters, digits, ".", "_", "~", "@" and "-", and not ${RESERVED_PRINCIPALS.join(', ')}`,
);
const MEMBER = textForm(
  (text) =>
    PLAIN_NAME.test(text) || /^(?:uid:(?:\d{1,10}|\*)|service:(?:[!-)+-~]+|(?:[!-)+-~]*\/)?\*))$/.test(text),
  'a principal: a name, uid:NUMBER, uid:*, service:NAME, service:NAME/* or service:*',
);
const ROLES = listOf(textForm((text) => text === ANY || PLAIN_NAME.test(text), 'names of roles, or *'));
const RULE_VERBS = listOf(oneOf<RuleVerb>([ANY, ...VERBS]));
const PATHS = listOf(
  textForm((text) => text.startsWith('/') && isPattern(text.slice(1)), 'paths /NAME, /NAME/* or /*'),
);
const CONTRACTS = listOf(textForm(isContractUri, 'URIs of contracts'));
const NAMES = listOf(textForm(isPattern, 'names NAME, NAME/* or *'));
const SHA256 = textForm(
  (text) => /^[0-9a-f]{64}$/.test(text),
  '64 lower-case hexadecimal digits, as sha256sum prints them',
);
/** Of no bytes at all, which is what a peer shows that has no credential. */
const SHA256_OF_NOTHING = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** The policy where there is none: nothing is allowed. */
export function emptyPolicy(source: string): Policy {
  return Object.freeze({
    source,
    roles: new Map(),
    credentials: Object.freeze([]),
    rules: Object.freeze([]),
  });
}

/**
 * Reads a policy from a file; undefined if there is no such file. Throws SYSTEM if it cannot be read, PolicyError
 * (POLICY_INVALID) for what is wrong with it, and if anybody at all may write it.
 */
export async function readPolicy(path: string): Promise<Policy | undefined> {
  const objection = `Everybody may write the policy. Take that away: chmod o-w ${path}`;
  try {
    const text = await readDocumentFile(path, POLICY, ({ mode }) =>
      (mode & 0o002) === 0 ? undefined : objection,
    );
    return parsePolicy(text, path);
  } catch (error) {
    const cause = error instanceof SplitplaneError ? error.cause : undefined;
    if ((cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A policy from its text, which is or would be the content of `source`. */
export function parsePolicy(text: string, source: string): Policy {
  return checkDocument(text, source, POLICY, (checker) => {
    const { role, principal, allow, deny } = checker.children(checker.root, {
      children: { role: ROLES_MAX, principal: CREDENTIALS_MAX, allow: RULES_MAX, deny: RULES_MAX },
      anyOrder: true,
    });
    const credentials = readCredentials(checker, principal);
    const roles = readRoles(checker, role, new Set(credentials.map((credential) => credential.principal)));
    if (allow.length + deny.length > RULES_MAX) {
      checker.problem(
        checker.root,
        `The policy has more than ${RULES_MAX} rules. Say it with fewer patterns.`,
      );
    }
    const rules = [...allow, ...deny].map((element) => readRule(checker, element, roles));
    rules.sort((a, b) => a.at.line - b.at.line || a.at.column - b.at.column);
    return Object.freeze({ source, roles, credentials, rules: Object.freeze(rules) });
  });
}

function readCredentials(checker: Checker, elements: readonly XmlElement[]): readonly Credential[] {
  // A principal may have several, while one takes the place of another. A credential of two principals is a mistake.
  checker.unique(elements, 'credential-sha256');
  const credentials = elements.map((element) => {
    checker.children(element, { required: ['name', 'credential-sha256'] });
    const sha256 = checker.value(element, 'credential-sha256', SHA256) ?? '';
    if (sha256 === SHA256_OF_NOTHING) {
      const says =
        'This is the SHA-256 of nothing: whoever has no credential has this one. Give 32 random bytes.';
      checker.problem(element, says, 'credential-sha256');
    }
    return Object.freeze({ principal: checker.value(element, 'name', PRINCIPAL) ?? '', sha256 });
  });
  return Object.freeze(credentials);
}

function readRoles(
  checker: Checker,
  elements: readonly XmlElement[],
  known: ReadonlySet<string>,
): ReadonlyMap<string, readonly string[]> {
  checker.unique(elements, 'name');
  const roles = new Map<string, readonly string[]>();
  for (const element of elements) {
    const { member } = checker.children(element, { required: ['name'], children: { member: MEMBERS_MAX } });
    const members: string[] = [];
    for (const one of member) {
      checker.children(one, { required: ['principal'] });
      const principal = checker.value(one, 'principal', MEMBER);
      if (principal === undefined) continue;
      members.push(principal);
      if (principal.includes(':') || known.has(principal) || RESERVED_PRINCIPALS.includes(principal))
        continue;
      const says = `Nobody can be ${JSON.stringify(principal)}. Add <principal name="${principal}" credential-sha256="..."/>.`;
      checker.problem(one, says, 'principal');
    }
    const name = checker.value(element, 'name', ROLE);
    if (name !== undefined) roles.set(name, Object.freeze(members));
  }
  return roles;
}

function readRule(checker: Checker, element: XmlElement, roles: ReadonlyMap<string, unknown>): Rule {
  checker.children(element, { required: ['roles'], optional: ['verbs', 'path', 'contract', 'register'] });
  const named = checker.value(element, 'roles', ROLES) ?? [];
  for (const role of named) {
    if (role === ANY || roles.has(role)) continue;
    checker.problem(element, `There is no role ${JSON.stringify(role)}. Add <role name="${role}">.`, 'roles');
  }
  return Object.freeze({
    effect: element.localName === 'allow' ? 'allow' : 'deny',
    roles: named,
    subject: readSubject(checker, element),
    at: Object.freeze(checker.place(element)),
  });
}

function readSubject(checker: Checker, element: XmlElement): Subject {
  const verbs = checker.value(element, 'verbs', RULE_VERBS) ?? [];
  const paths = checker.value(element, 'path', PATHS);
  const contracts = checker.value(element, 'contract', CONTRACTS);
  const names = checker.value(element, 'register', NAMES);
  const has = (name: string): boolean => element.attribute(name) !== undefined;
  if (['path', 'contract', 'register'].filter(has).length !== 1) {
    checker.problem(
      element,
      `<${element.localName}> is about one of path, contract and register. Write just one.`,
    );
  } else if (has('verbs') === has('register')) {
    const says = has('register')
      ? 'takes no verbs. Leave them out'
      : 'lacks its verbs. Write verbs="*" for all';
    checker.problem(element, `<${element.localName}> ${says}.`, 'verbs');
  }
  if (names !== undefined) return Object.freeze({ kind: 'register', names });
  if (contracts !== undefined) return Object.freeze({ kind: 'contract', verbs, contracts });
  return Object.freeze({ kind: 'path', verbs, paths: paths ?? [] });
}

/**
 * NAME, NAME/* or *. A star behind anything else would match more than whoever wrote it sees: camera* has
 * camera-of-the-boss in it.
 */
function isPattern(text: string): boolean {
  return text === ANY || isName(text.endsWith('/*') ? text.slice(0, -2) : text);
}
