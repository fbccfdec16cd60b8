// The URI manager: which URI stands for which port. It takes registrations, asks the security manager about each, chooses a name
// where a service has none, and keeps the mapping table that the dispatcher reads. Knows nothing of messages.
import { randomUUID } from 'node:crypto';
import { Fault } from './fault.js';
import type { Port } from './port.js';
import { checkServiceName, LOCAL_PREFIX, parseServiceUri } from './uri.js';

/** Names registered at once. */
export const REGISTRATIONS_MAX = 1_000_000;

/** A line of the mapping table. */
export interface Registration {
  /** Counts registrations, from 1: the table is in this order. */
  readonly serial: number;
  readonly uri: string;
  readonly name: string;
  /** "/" and the name: how policies call it. */
  readonly path: string;
  readonly principal: string;
  /** The contract's URI; undefined where the port takes whatever comes. */
  readonly contract: string | undefined;
  /** Where its messages go: a port here, or the runtime of another process, by the id of its network manager. */
  readonly target: Port | { readonly nodeId: string };
  /** Whether it is the port of a subscription: its name cannot be guessed, and no policy could name it. Not listed. */
  readonly internal: boolean;
}

export interface RegistrationInit {
  readonly principal: string;
  /** The name it would like; generated when left out. */
  readonly name?: string | undefined;
  readonly contract?: string | undefined;
  readonly target: Registration['target'];
  readonly internal?: boolean | undefined;
  /** Part of the runtime: the security manager is not asked. */
  readonly trusted?: boolean | undefined;
}

/** Whether a principal may register a name, and why not. */
export type JudgeRegistration = (
  principal: string,
  name: string,
) => { readonly allowed: boolean; readonly reason: string };

export class UriManager {
  readonly #judge: JudgeRegistration;
  readonly #table = new Map<string, Registration>();
  readonly #own = new Set<string>(['']);
  #serial = 0;
  #prefix = LOCAL_PREFIX;
  #internalPrefix = LOCAL_PREFIX;

  constructor(judge: JudgeRegistration) {
    this.#judge = judge;
  }

  /** What stands before every name. */
  get prefix(): string {
    return this.#prefix;
  }

  /**
   * Sets what stands before names, before anything is registered: of services, and of ports that are reached over
   * connections that this runtime opened. `authorities` are others by which peers may call it.
   */
  setPrefix(prefix: string, internalPrefix: string, authorities: readonly string[]): void {
    this.#prefix = prefix;
    this.#internalPrefix = internalPrefix;
    for (const one of [prefix, internalPrefix]) this.#own.add(one.slice(LOCAL_PREFIX.length - 1, -1));
    for (const authority of authorities) this.#own.add(authority);
  }

  get count(): number {
    return this.#table.size;
  }

  /** Every registration that is not internal, in the order in which they were made. */
  *entries(): Generator<Registration, void, void> {
    for (const registration of this.#table.values()) if (!registration.internal) yield registration;
  }

  /**
   * Writes a line of the table; from then on its port is what listens at the URI. Throws Fault PermissionDenied,
   * DuplicateEntry, InsufficientResources; INVALID_ARGUMENT for what is no name.
   */
  register(init: RegistrationInit): Registration {
    const { principal, contract, target, internal = false, trusted = false } = init;
    const name = init.name === undefined ? generatedName(principal) : checkServiceName(init.name);
    if (!internal && !trusted) {
      const { allowed, reason } = this.#judge(principal, name);
      if (!allowed) throw new Fault('PermissionDenied', reason);
    }
    const uri = (internal ? this.#internalPrefix : this.#prefix) + name;
    if (this.#table.has(uri)) throw new Fault('DuplicateEntry', `${uri} is taken. Choose another name.`);
    if (this.#table.size >= REGISTRATIONS_MAX) {
      throw new Fault('InsufficientResources', `${REGISTRATIONS_MAX} names are registered. Remove some.`);
    }
    const serial = ++this.#serial;
    const registration = { serial, uri, name, path: `/${name}`, principal, contract, target, internal };
    this.#table.set(uri, registration);
    return registration;
  }

  /** Answers whether there was one. */
  remove(uri: string): boolean {
    return this.#table.delete(uri);
  }

  /** What a URI of this runtime stands for; by its exact spelling, which is how messages carry it, at the cost of one look. */
  find(uri: string): Registration | undefined {
    return this.#table.get(uri);
  }

  /** What a name stands for. */
  named(name: string): Registration | undefined {
    return this.#table.get(this.#prefix + name);
  }

  /** By what peers and parts of this runtime call it. */
  get authorities(): readonly string[] {
    return [...this.#own].filter((authority) => authority !== '');
  }

  /** Whether an authority is this runtime. */
  isOwn(authority: string): boolean {
    return this.#own.has(authority);
  }

  /** The name that a URI gives to a service of this runtime; undefined for a URI of another runtime, or none. */
  ownName(uri: string): string | undefined {
    const parsed = parseServiceUri(uri);
    return parsed !== undefined && this.#own.has(parsed.authority) ? parsed.name : undefined;
  }
}

/** Characters of a principal that stand before what makes a generated name unique. */
const KIND_LENGTH_MAX = 200;

/** Unique without asking anybody, and a name like others: what people called the service may hold what no name does. */
function generatedName(principal: string): string {
  const [, kind = 'client'] = /^service:(.+)$/.exec(principal) ?? [];
  return `${kind.slice(0, KIND_LENGTH_MAX).replace(/[^A-Za-z0-9_]+/g, '-')}/${randomUUID()}`;
}
