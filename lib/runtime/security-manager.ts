// The security manager: approves or refuses registrations, messages and the memory behind tags, by the policy in force, and has
// every decision in the audit log. Decisions are remembered, because the same message is judged hundreds of thousands of times
// a second. What there is to decide about is the dispatcher's; what the rules say is policy.ts's.
import { createHash, timingSafeEqual } from 'node:crypto';
import { SplitplaneError } from '../errors.js';
import { authenticateByLocation, type Peer } from '../network/security.js';
import { messageOf } from './describe.js';
import { AuditLog, owned, shown, type AuditKind, type AuditRecord } from './audit-log.js';
import type { SecurityEntry } from './manifest.js';
import { isName } from './names.js';
import { emptyPolicy, readPolicy, type Policy } from './policy.js';
import { Rights, type PrincipalRights, type Verdict } from './rights.js';
import type { Verb } from './verbs.js';

/**
 * Decisions that are remembered in each of two generations. When the young one is full the old one is forgotten, but for what
 * was used since: so a principal that asks for one random path after the other cannot drive out what others use.
 */
export const DECISIONS_MAX = 32_768;
/** What resolving buffers counts as beside the verbs. */
const MEMORY = 'memory';

export interface Decision {
  readonly allowed: boolean;
  /** One sentence for whoever asked: what was refused, and what to do. Nothing of what the policy says otherwise. */
  readonly reason: string;
}

/** A message that somebody wants to send. */
export interface MessageAccess {
  readonly principal: string;
  /** Undefined for an action that is none of DSSP's. */
  readonly verb: Verb | undefined;
  /** The name of the service; a "/" before it means the same. */
  readonly path: string;
  /** The contract of the service, undefined where it has none or is not there. */
  readonly contract: string | undefined;
}

/** Buffers of a service that somebody wants to resolve. */
export interface MemoryAccess {
  readonly principal: string;
  /** The name of the service whose buffers they are; a "/" before it means the same. */
  readonly path: string;
  /** The contract of the service, undefined where it has none. Rules by contract hold for its buffers, too. */
  readonly contract: string | undefined;
}

/** What a manifest says, or a program that has its policy at hand and no file for it. */
export type SecuritySource =
  SecurityEntry | { readonly off: false; readonly policy: Policy; readonly audit?: string | undefined };

export interface SecurityOptions {
  /** Told what goes wrong later, in a sentence. */
  readonly log: (text: string) => void;
  /** Milliseconds since the epoch; Date.now when left out. */
  readonly now?: (() => number) | undefined;
}

type Action = Verb | typeof MEMORY | undefined;

/** A decision that is remembered. */
interface Known {
  readonly decision: Decision;
  /** A name may be given to a service of another contract, and is judged anew then. */
  readonly contract: string | undefined;
  readonly record: AuditRecord;
}

/** What is remembered of a principal: its rights, and decisions by what it wanted to do and to whom. */
interface KnownPrincipal {
  readonly rights: PrincipalRights;
  readonly byAction: Map<Action, Map<string, Known>>;
}
type Generation = Map<string, KnownPrincipal>;

/** What is in force: it changes as one thing. */
interface Regime {
  readonly policy: Policy;
  readonly rights: Rights;
  readonly credentials: readonly { readonly principal: string; readonly sha256: Buffer }[];
}

const ALLOWED: Decision = Object.freeze({ allowed: true, reason: '' });

export class SecurityManager {
  /** Whether everything is allowed, because the manifest says so. */
  readonly off: boolean;
  readonly audit: AuditLog;
  readonly #security: SecuritySource;
  readonly #log: (text: string) => void;
  #regime: Regime;
  #young: Generation = new Map();
  #old: Generation = new Map();
  #youngCount = 0;
  /** Counts changes of the policy that were asked for: the last one asked for wins. */
  #changes = 0;

  private constructor(
    security: SecuritySource,
    audit: AuditLog,
    policy: Policy,
    log: (text: string) => void,
  ) {
    this.#security = security;
    this.off = security.off;
    this.audit = audit;
    this.#log = log;
    this.#regime = regimeOf(policy);
  }

  /**
   * Reads the policy and opens the audit log. A policy that is missing allows nothing. Rejects with POLICY_INVALID, with all
   * that is wrong with it, and with SYSTEM if a file cannot be used.
   */
  static async load(security: SecuritySource, options: SecurityOptions): Promise<SecurityManager> {
    const { log, now = Date.now } = options;
    if (security.off) {
      const audit = await AuditLog.open(undefined, { now, log });
      return new SecurityManager(security, audit, emptyPolicy(''), log);
    }
    const { policy: given } = security;
    const policy = typeof given === 'string' ? await readOrNothing(given, log) : given;
    const audit = await AuditLog.open(security.audit, { now, log });
    return new SecurityManager(security, audit, policy, log);
  }

  /** The policy in force. */
  get policy(): Policy {
    return this.#regime.policy;
  }

  /** Whether a principal may register a name. */
  registration(principal: string, name: string): Decision {
    if (this.off) return ALLOWED;
    if (!isName(name)) return this.#refuseUnnamed('registration', principal, undefined, name);
    const verdict = this.#rightsOf(principal).registration(name);
    return this.#decide('registration', { principal, verb: undefined, contract: undefined }, name, verdict)
      .decision;
  }

  /** Whether a message may be delivered. Cheap when it was asked before. */
  message(access: MessageAccess): Decision {
    if (this.off) return ALLOWED;
    const { principal, verb, path, contract } = access;
    return this.#recall(principal, verb, path, contract) ?? this.#judge('message', verb, verb, access);
  }

  /** Whether buffers may be resolved: who may not Get a service has no business with its memory. */
  memory(access: MemoryAccess): Decision {
    if (this.off) return ALLOWED;
    const { principal, path, contract } = access;
    return this.#recall(principal, MEMORY, path, contract) ?? this.#judge('memory', MEMORY, 'Get', access);
  }

  /** What message() would decide, and by which rule, without its being noted or remembered. `path` is one that services have. */
  verdict({ principal, verb, path, contract }: MessageAccess): Verdict {
    if (this.off) return { allowed: true, rule: undefined };
    return this.#rightsOf(principal).message(verb, path.startsWith('/') ? path.slice(1) : path, contract);
  }

  /**
   * Who a peer is: by its credentials if it shows any, undefined if the policy does not know them; else by where it is
   * (authenticateByLocation). To be given to a NetworkManager.
   */
  authenticate(peer: Peer): string | undefined {
    if (this.off || peer.credentials.length === 0) return authenticateByLocation(peer);
    const shown = createHash('sha256').update(peer.credentials).digest();
    let found: string | undefined;
    // All of them, so that the time says nothing of which it is.
    for (const { principal, sha256 } of this.#regime.credentials) {
      if (timingSafeEqual(shown, sha256)) found = principal;
    }
    return found;
  }

  /** Puts a policy in force, at once and whole. Throws INVALID_ARGUMENT where security is off. */
  replace(policy: Policy): void {
    if (this.off) {
      const says = 'Security is off, so a policy would do nothing. Take off="true" out of the manifest.';
      throw new SplitplaneError('INVALID_ARGUMENT', says);
    }
    this.#changes++;
    this.#install(policy);
  }

  /**
   * Reads the policy's file again and puts it in force, at once and whole; without the file nothing is allowed any more. If
   * it is broken the policy in force stays, and this rejects with POLICY_INVALID or SYSTEM. Where a later change was asked
   * for before this one is done, the later one wins. Does nothing where security is off or the policy came from no file.
   */
  async reload(): Promise<void> {
    if (this.#security.off || typeof this.#security.policy !== 'string') return;
    const { policy: path } = this.#security;
    const change = ++this.#changes;
    try {
      const policy = await readOrNothing(path, (text) => {
        if (change === this.#changes) this.#log(text);
      });
      if (change === this.#changes) this.#install(policy);
    } catch (error) {
      this.audit.add({
        decision: 'refused',
        kind: 'policy',
        principal: 'runtime',
        path,
        reason: firstLine(error),
      });
      throw error;
    }
  }

  /** Settles when the audit log is on the disk. */
  async close(): Promise<void> {
    await this.audit.close();
  }

  #install(policy: Policy): void {
    const regime = regimeOf(policy);
    this.audit.settle();
    this.#regime = regime;
    this.#young = new Map();
    this.#old = new Map();
    this.#youngCount = 0;
    this.audit.add({ decision: 'allowed', kind: 'policy', principal: 'runtime', path: policy.source });
  }

  /** A decision that was made before. */
  #recall(
    principal: string,
    action: Action,
    path: string,
    contract: string | undefined,
  ): Decision | undefined {
    const known = this.#young.get(principal)?.byAction.get(action)?.get(path);
    if (known?.contract !== contract || known === undefined) return undefined;
    return this.#reuse(known);
  }

  #reuse({ decision, record }: Known): Decision {
    if (decision.allowed) record.count++;
    else this.audit.add(record.init);
    return decision;
  }

  /** A decision that is not among the young ones. */
  #judge(kind: AuditKind, action: Action, verb: Verb | undefined, access: MemoryAccess): Decision {
    const { principal, path, contract } = access;
    const old = this.#old.get(principal)?.byAction.get(action)?.get(path);
    if (old !== undefined && old.contract === contract) {
      this.#remember(principal, action, path, old);
      return this.#reuse(old);
    }
    const name = path.startsWith('/') ? path.slice(1) : path;
    // Not remembered: there is no end of what is no name.
    if (!isName(name)) return this.#refuseUnnamed(kind, principal, verb, path);
    const verdict = this.#rightsOf(principal).message(verb, name, contract);
    const known = this.#decide(kind, { principal, verb, contract }, name, verdict);
    this.#remember(principal, action, path, known);
    return known.decision;
  }

  #decide(
    kind: AuditKind,
    who: {
      readonly principal: string;
      readonly verb: Verb | undefined;
      readonly contract: string | undefined;
    },
    name: string,
    { allowed, rule }: Verdict,
  ): Known {
    const path = owned(`/${name}`);
    const decision = allowed
      ? ALLOWED
      : Object.freeze({
          allowed,
          reason: `${who.principal} may not ${wish(kind, who.verb)} ${path}. ${ADVICE}`,
        });
    const record = this.audit.add({
      decision: allowed ? 'allowed' : 'refused',
      kind,
      ...who,
      path,
      rule: rule?.at.line,
    });
    return { decision, contract: who.contract, record };
  }

  #refuseUnnamed(kind: AuditKind, principal: string, verb: Verb | undefined, path: string): Decision {
    const reason = 'No service can have this name. Address services as dos://HOST:PORT/NAME.';
    this.audit.add({ decision: 'refused', kind, principal, verb, path: shown(path), reason });
    return { allowed: false, reason };
  }

  #remember(principal: string, action: Action, path: string, decided: Known): void {
    if (this.#youngCount === DECISIONS_MAX) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngCount = 0;
    }
    this.#youngCount++;
    let known = this.#young.get(principal);
    if (known === undefined) {
      known = { rights: this.#rightsOf(principal), byAction: new Map() };
      this.#young.set(principal, known);
    }
    let paths = known.byAction.get(action);
    if (paths === undefined) known.byAction.set(action, (paths = new Map<string, Known>()));
    // Only names of services come here, so the copy is short.
    paths.set(owned(path), decided);
  }

  #rightsOf(principal: string): PrincipalRights {
    const known = this.#young.get(principal) ?? this.#old.get(principal);
    return known?.rights ?? this.#regime.rights.of(principal);
  }
}

const ADVICE = 'Ask whoever runs that runtime for the right.';

/** What somebody wanted, as in "may not ... /camera". */
function wish(kind: AuditKind, verb: Verb | undefined): string {
  if (kind === 'registration') return 'register';
  if (kind === 'memory') return 'Get, so cannot resolve the buffers of,';
  return verb ?? 'send anything but the verbs of DSSP to';
}

function regimeOf(policy: Policy): Regime {
  const credentials = policy.credentials.map(({ principal, sha256 }) => ({
    principal,
    sha256: Buffer.from(sha256, 'hex'),
  }));
  return { policy, rights: new Rights(policy), credentials };
}

/** A policy that is missing allows nothing. */
async function readOrNothing(path: string, log: (text: string) => void): Promise<Policy> {
  const policy = await readPolicy(path);
  if (policy === undefined) log(missing(path));
  return policy ?? emptyPolicy(path);
}

function missing(path: string): string {
  return `There is no policy ${path}: nothing is allowed. Write one, or turn security off in the manifest.`;
}

function firstLine(error: unknown): string {
  return messageOf(error).split('\n', 1)[0] ?? '';
}
