// The URI manager as a service: which names are registered in this runtime, what a URI stands for, and an end to a registration. There
// are no aliases: rights go by path, and a second name would be a second set of rights to the same service.
import { contract, Delete, Query } from '../contract.js';
import { Fault } from '../fault.js';
import type { Registration, UriManager } from '../uri-manager.js';
import { Port } from '../port.js';
import { Service, type Handlers } from '../service.js';
import {
  body,
  boolean,
  integer,
  list,
  optional,
  record,
  text,
  type Received,
  type SentRecord,
} from '../shape.js';
import { Page } from './page.js';

/** Names of one answer. */
export const NAMES_PAGE_MAX = 500;

const registrationFields = {
  uri: text(),
  name: text(),
  /** The contract of what is there; absent where it takes whatever comes. */
  contract: optional(text()),
  /** Who the service is to the security manager. */
  principal: text(),
  /** Whether it lives in a process of its own. */
  elsewhere: boolean(),
} as const;

const QueryNames = body('Query', {
  /** How the names begin. */
  prefix: optional(text()),
  /** The `next` of the page before. */
  after: optional(integer(0)),
  limit: optional(integer(1, NAMES_PAGE_MAX)),
});
const Names = body('QueryResponse', {
  /** In the order in which they were registered. */
  names: list(record(registrationFields)),
  /** What to give as `after` for the next page; absent on the last. */
  next: optional(integer(0)),
});

/**
 * `resolve` tells what a URI of this runtime stands for, however the URI spells the runtime: UnknownEntry where it is none of
 * this runtime's or nothing is registered. `remove` takes a name out of the table, and so ends the service that has it.
 */
export const UriNames = contract('urn:splitplane:uri-manager:1', {
  operations: {
    query: Query(QueryNames, Names),
    resolve: Query(body('Resolve', { uri: text() }), body('ResolveResponse', registrationFields)),
    remove: Delete(body('Delete', { name: text() })),
  },
});

/** The table that it shows. */
export type NameTable = Pick<UriManager, 'entries' | 'find' | 'named' | 'ownName'>;

export class UriManagerService extends Service<typeof UriNames> {
  readonly contract = UriNames;
  /** A service that takes its time to end does not keep others from asking for names. */
  override readonly concurrency = 'concurrent';
  readonly #table: NameTable;
  readonly #end: (name: string) => Promise<void>;

  readonly handlers: Handlers<typeof UriNames> = {
    query: ({ body }) => this.#query(body),
    resolve: ({ body: { uri } }) => {
      const name = this.#table.ownName(uri);
      const found = this.#table.find(uri) ?? (name === undefined ? undefined : this.#table.named(name));
      if (found === undefined || found.internal)
        throw new Fault(
          'UnknownEntry',
          'No service of this runtime has this URI. Query the names there are.',
        );
      return told(found);
    },
    remove: async ({ body: { name } }) => {
      if (this.#table.named(name) === undefined)
        throw new Fault('UnknownEntry', 'This name is not registered. Query the names there are.');
      await this.#end(name);
    },
  };

  /** `end` ends the service of a name. */
  constructor(table: NameTable, end: (name: string) => Promise<void>) {
    super();
    this.#table = table;
    this.#end = end;
  }

  #query({ prefix = '', after = 0, limit = NAMES_PAGE_MAX }: Received<typeof QueryNames>) {
    const page = new Page<ReturnType<typeof told>>(limit);
    let next = after;
    for (const registration of this.#table.entries()) {
      const { serial, uri, name, contract: kind, principal } = registration;
      if (serial <= after || !name.startsWith(prefix)) continue;
      if (!page.add(told(registration), uri, name, kind, principal)) return { names: page.items, next };
      next = serial;
    }
    return { names: page.items };
  }
}

function told({
  uri,
  name,
  contract: kind,
  principal,
  target,
}: Registration): SentRecord<typeof registrationFields> {
  return { uri, name, contract: kind, principal, elsewhere: !(target instanceof Port) };
}
