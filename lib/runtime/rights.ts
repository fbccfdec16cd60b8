// A policy made ready for judging: what a principal may do, found by the name of a service and not by going through the rules, so
// that a policy of thousands of rules costs an attacker's random questions no more than a short one. Takes names in their one
// spelling; whoever asks sees to that.
import { ANY, type Policy, type Rule } from './policy.js';
import { VERBS, type Verb } from './verbs.js';

/** Combinations of roles whose rights are kept; beyond this, all are forgotten and put together anew. */
export const COMBINATIONS_MAX = 1024;

/** What comes of the rules. */
export interface Verdict {
  readonly allowed: boolean;
  /** A rule that decided; undefined where none said anything, which refuses. */
  readonly rule: Rule | undefined;
}

/** What can be allowed; undefined is every action that is none of DSSP's. */
type Action = Verb | 'register' | undefined;

/** A rule for each action, of those that deny and of those that allow it. */
interface Entry {
  readonly deny: Map<Action, Rule>;
  readonly allow: Map<Action, Rule>;
}

const NO_RULE: Verdict = Object.freeze({ allowed: false, rule: undefined });

/** What principals of some roles may do. */
export class PrincipalRights {
  /** By a whole name, by the beginning of names to a "/", by '' for all names. */
  readonly #byName = new Map<string, Entry>();
  readonly #byContract = new Map<string, Entry>();

  constructor(rules: Iterable<Rule>) {
    for (const rule of rules) {
      const { subject } = rule;
      if (subject.kind === 'register') {
        for (const name of subject.names) enter(this.#byName, withoutStar(name), ['register'], rule);
        continue;
      }
      const actions = subject.verbs.flatMap((verb): Action[] =>
        verb === ANY ? [...VERBS, undefined] : [verb],
      );
      if (subject.kind === 'contract') {
        for (const contract of subject.contracts) enter(this.#byContract, contract, actions, rule);
      } else {
        for (const path of subject.paths) enter(this.#byName, withoutStar(path.slice(1)), actions, rule);
      }
    }
  }

  /** Whether a message with this verb may go to the service of this name; a verb that is undefined is none of DSSP's. */
  message(verb: Verb | undefined, name: string, contract: string | undefined): Verdict {
    return this.#judge(verb, name, contract);
  }

  /** Whether this name may be registered. */
  registration(name: string): Verdict {
    return this.#judge('register', name, undefined);
  }

  #judge(action: Action, name: string, contract: string | undefined): Verdict {
    let allowing: Rule | undefined;
    for (const entry of this.#entries(name, contract)) {
      const denying = entry?.deny.get(action);
      if (denying !== undefined) return { allowed: false, rule: denying };
      allowing ??= entry?.allow.get(action);
    }
    return allowing === undefined ? NO_RULE : { allowed: true, rule: allowing };
  }

  *#entries(name: string, contract: string | undefined): Generator<Entry | undefined, void, void> {
    yield this.#byName.get('');
    for (let slash = name.indexOf('/'); slash >= 0; slash = name.indexOf('/', slash + 1)) {
      yield this.#byName.get(name.slice(0, slash + 1));
    }
    yield this.#byName.get(name);
    if (contract !== undefined) yield this.#byContract.get(contract);
  }
}

/** The members of a role: principals, and what principals begin with. */
class Members {
  readonly #exact: ReadonlySet<string>;
  readonly #beginnings: readonly string[];

  constructor(members: readonly string[]) {
    this.#exact = new Set(members.filter((member) => !member.endsWith(ANY)));
    this.#beginnings = members.filter((member) => member.endsWith(ANY)).map(withoutStar);
  }

  has(principal: string): boolean {
    return (
      this.#exact.has(principal) || this.#beginnings.some((beginning) => principal.startsWith(beginning))
    );
  }
}

/** What a policy says, of anybody. */
export class Rights {
  readonly #roles: readonly (readonly [string, Members])[];
  readonly #rules: readonly Rule[];
  /** By the names of the roles, which have no space in them. */
  readonly #combinations = new Map<string, PrincipalRights>();

  constructor(policy: Policy) {
    this.#roles = [...policy.roles].map(([name, members]) => [name, new Members(members)] as const);
    this.#rules = policy.rules;
  }

  /** What a principal may do. */
  of(principal: string): PrincipalRights {
    const roles = this.#roles.filter(([, members]) => members.has(principal)).map(([name]) => name);
    const key = roles.join(' ');
    const known = this.#combinations.get(key);
    if (known !== undefined) return known;
    const held = new Set([ANY, ...roles]);
    const rights = new PrincipalRights(
      this.#rules.filter((rule) => rule.roles.some((role) => held.has(role))),
    );
    if (this.#combinations.size === COMBINATIONS_MAX) this.#combinations.clear();
    this.#combinations.set(key, rights);
    return rights;
  }
}

function withoutStar(pattern: string): string {
  return pattern.endsWith(ANY) ? pattern.slice(0, -1) : pattern;
}

function enter(entries: Map<string, Entry>, key: string, actions: readonly Action[], rule: Rule): void {
  let entry = entries.get(key);
  if (entry === undefined) entries.set(key, (entry = { deny: new Map(), allow: new Map() }));
  const byAction = entry[rule.effect];
  for (const action of actions) if (!byAction.has(action)) byAction.set(action, rule);
}
