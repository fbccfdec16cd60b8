// The security service: the policy in force, what was decided by it, what would be, and a way to have it read anew. It decides nothing by
// itself; who may ask it is in the policy as for every other service.
import type { AuditEntry } from '../audit-log.js';
import { contract, Get, Query, Submit } from '../contract.js';
import { Fault } from '../fault.js';
import { isName } from '../names.js';
import type { Rule } from '../policy.js';
import type { SecurityManager } from '../security-manager.js';
import { Service, type Handlers } from '../service.js';
import {
  body,
  boolean,
  choice,
  integer,
  list,
  optional,
  record,
  text,
  type Received,
  type SentRecord,
} from '../shape.js';
import { VERBS } from '../verbs.js';
import { Page, PAGE_BYTES_MAX } from './page.js';

/** Rules, and entries of the audit log, of one answer. */
export const SECURITY_PAGE_MAX = 300;

const decision = choice('allowed', 'refused');
const kind = choice('registration', 'message', 'memory', 'policy');

const PolicyState = body('GetResponse', {
  /** Whether everything is allowed, because the manifest says so. */
  off: boolean(),
  /** The file of the policy; empty where security is off. */
  source: text(),
  ruleCount: integer(0),
  /** Who is in which role. */
  members: list(record({ role: text(), principal: text() })),
  /** Principals that prove who they are by a credential. */
  credentials: list(text()),
  /** Members and credentials that did not fit into the answer. */
  unlisted: integer(0),
  /** Lines that the audit file is missing. */
  auditDropped: integer(0),
});

const ruleFields = {
  effect: choice('allow', 'deny'),
  /** The line of the policy. */
  line: integer(1),
  roles: list(text()),
  /** Of messages; none for rules of registrations. */
  verbs: list(text()),
  /** What the rule is about: one of these has something in it. */
  paths: list(text()),
  contracts: list(text()),
  names: list(text()),
} as const;
const Rules = body('RulesResponse', {
  rules: list(record(ruleFields)),
  /** What to give as `after` for the next page; absent on the last. */
  next: optional(integer(0)),
});

const auditFields = {
  /** ISO 8601, in UTC. */
  time: text(),
  decision,
  kind,
  principal: text(),
  verb: optional(text()),
  path: text(),
  contract: optional(text()),
  /** The line of the policy that decided. */
  rule: optional(integer(1)),
  reason: optional(text()),
  /** How often the decision was used so far. */
  count: integer(0),
} as const;
const QueryAudit = body('Audit', {
  decision: optional(decision),
  kind: optional(kind),
  principal: optional(text()),
  /** How the paths begin. */
  path: optional(text()),
  limit: optional(integer(1, SECURITY_PAGE_MAX)),
});

/**
 * `audit` answers with the newest entries that fit the filter, in the order of time. `judge` says whether a principal may send a
 * message with this verb to this path, without its being sent or noted. `reload` reads the policy's file: it is in force when
 * this settles, and OperationFailed says what is wrong with it and that the one before stays.
 */
export const Security = contract('urn:splitplane:security:1', {
  operations: {
    get: Get(PolicyState),
    rules: Query(
      body('Rules', { after: optional(integer(0)), limit: optional(integer(1, SECURITY_PAGE_MAX)) }),
      Rules,
    ),
    audit: Query(QueryAudit, body('AuditResponse', { entries: list(record(auditFields)) })),
    judge: Query(
      body('Judge', { principal: text(), verb: choice(...VERBS), path: text() }),
      body('JudgeResponse', {
        allowed: boolean(),
        /** The line of the policy that decides; absent where none does, which refuses, and where security is off. */
        rule: optional(integer(1)),
      }),
    ),
    reload: Submit(body('Reload', {})),
  },
});

/** What the service has of the security manager. */
export type SecurityFacts = Pick<SecurityManager, 'off' | 'policy' | 'audit' | 'reload' | 'verdict'>;

export class SecurityService extends Service<typeof Security> {
  readonly contract = Security;
  readonly #security: SecurityFacts;
  readonly #contractOf: (name: string) => string | undefined;

  readonly handlers: Handlers<typeof Security> = {
    get: () => this.#get(),
    rules: ({ body: { after = 0, limit = SECURITY_PAGE_MAX } }) => {
      const { rules } = this.#security.policy;
      const page = new Page<SentRecord<typeof ruleFields>>(limit);
      rules.slice(after).every((rule) => {
        const told = ruleOf(rule);
        return page.add(told, ...told.roles, ...told.paths, ...told.contracts, ...told.names);
      });
      const next = after + page.items.length;
      return next < rules.length ? { rules: page.items, next } : { rules: page.items };
    },
    audit: ({ body }) => this.#audit(body),
    judge: ({ body: { principal, verb, path } }) => {
      const name = path.slice(1);
      if (!path.startsWith('/') || !isName(name))
        throw new Fault('OperationFailed', 'A path is "/" and the name of a service.');
      const access = { principal, verb, path, contract: this.#contractOf(name) };
      const { allowed, rule } = this.#security.verdict(access);
      return { allowed, rule: rule?.at.line };
    },
    reload: () => this.#security.reload(),
  };

  /** `contractOf` tells the contract of the service of a name. */
  constructor(security: SecurityFacts, contractOf: (name: string) => string | undefined) {
    super();
    this.#security = security;
    this.#contractOf = contractOf;
  }

  #get() {
    const { off, policy, audit } = this.#security;
    const members = [...policy.roles].flatMap(([role, principals]) =>
      principals.map((principal) => ({ role, principal })),
    );
    const named = [...new Set(policy.credentials.map(({ principal }) => principal))];
    const first = new Page<(typeof members)[number]>(SECURITY_PAGE_MAX, PAGE_BYTES_MAX / 2);
    members.every((member) => first.add(member, member.role, member.principal));
    const credentials = new Page<string>(SECURITY_PAGE_MAX, PAGE_BYTES_MAX / 2);
    named.every((principal) => credentials.add(principal, principal));
    return {
      off,
      source: policy.source,
      ruleCount: policy.rules.length,
      members: first.items,
      credentials: credentials.items,
      unlisted: members.length - first.items.length + (named.length - credentials.items.length),
      auditDropped: audit.dropped,
    };
  }

  #audit({ limit = SECURITY_PAGE_MAX, ...filter }: Received<typeof QueryAudit>) {
    const page = new Page<AuditEntry>(limit);
    this.#security.audit
      .entries()
      .reverse()
      .filter((entry) => matches(entry, filter))
      .every((entry) => page.add(entry, entry.principal, entry.path, entry.contract, entry.reason));
    return { entries: page.items.reverse() };
  }
}

function matches(
  entry: AuditEntry,
  { decision: decided, kind: what, principal, path = '' }: Omit<Received<typeof QueryAudit>, 'limit'>,
): boolean {
  return (
    (decided === undefined || entry.decision === decided) &&
    (what === undefined || entry.kind === what) &&
    (principal === undefined || entry.principal === principal) &&
    entry.path.startsWith(path)
  );
}

function ruleOf({ effect, roles, subject, at: { line } }: Rule): SentRecord<typeof ruleFields> {
  return {
    effect,
    line,
    roles,
    verbs: subject.kind === 'register' ? [] : subject.verbs,
    paths: subject.kind === 'path' ? subject.paths : [],
    contracts: subject.kind === 'contract' ? subject.contracts : [],
    names: subject.kind === 'register' ? subject.names : [],
  };
}
