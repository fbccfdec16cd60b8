// The directory of a runtime: what runs here and what failed to, for whoever looks for a service, and news of services that come, fail
// and go. Reads what the loader knows and keeps nothing of its own.
import { contract, Get, Query } from '../contract.js';
import { Fault } from '../fault.js';
import type { ServiceLoader } from '../loader.js';
import { Service, type Handlers } from '../service.js';
import type { ServiceSnapshot } from '../snapshot.js';
import { body, choice, integer, list, optional, record, text, type Received } from '../shape.js';
import { partnerFields, partnersOf, SERVICE_STATES, serviceFields, summaryOf } from './descriptions.js';
import { firstNot, Page } from './page.js';

/** Services of one answer. */
export const DIRECTORY_PAGE_MAX = 256;
/** Services that one query looks at: what matches little of much takes several. */
export const DIRECTORY_SCAN_MAX = 10_000;

/** A service as a list has it; its partners are told to who asks for it alone. */
export const ServiceSummary = record(serviceFields);

const QueryServices = body('Query', {
  /** The URI of a contract: services that have it. */
  contract: optional(text()),
  /** How their names begin. */
  prefix: optional(text()),
  state: optional(choice(...SERVICE_STATES)),
  /** The `next` of the page before. */
  after: optional(text()),
  limit: optional(integer(1, DIRECTORY_PAGE_MAX)),
});
const Services = body('QueryResponse', {
  /** Sorted by name. */
  services: list(ServiceSummary),
  /** What to give as `after` for the next page, which may be there even where this one is not full; absent on the last. */
  next: optional(text()),
});
const ServiceName = body('Service', { name: text() });
const OneService = body('ServiceResponse', { ...serviceFields, ...partnerFields });

export const Directory = contract('urn:splitplane:directory:1', {
  operations: {
    query: Query(QueryServices, Services),
    /** One service by its name: UnknownEntry if none has it. */
    get: Get(ServiceName, OneService),
  },
  notifications: {
    /** It takes messages from now on. */
    started: body('Started', serviceFields),
    /** It did not start, or has broken. */
    failed: body('Failed', serviceFields),
    /** It was ended. */
    stopped: body('Stopped', serviceFields),
  },
});

/** What the directory reads. */
export type Listed = Pick<ServiceLoader, 'names' | 'snapshotOf' | 'watch'>;

export class DirectoryService extends Service<typeof Directory> {
  readonly contract = Directory;
  readonly #services: Listed;
  #unwatch: (() => void) | undefined;

  readonly handlers: Handlers<typeof Directory> = {
    query: ({ body }) => this.#query(body),
    get: ({ body: { name } }) => {
      const found = this.#services.snapshotOf(name);
      if (found === undefined)
        throw new Fault('UnknownEntry', 'No service here has this name. Query what there is.');
      return { ...summaryOf(found), ...partnersOf(found) };
    },
  };

  constructor(services: Listed) {
    super();
    this.#services = services;
  }

  override start(): void {
    this.#unwatch = this.#services.watch((event, service) => {
      this.publish(event, summaryOf(service));
    });
  }

  override stop(): void {
    this.#unwatch?.();
  }

  #query(filter: Received<typeof QueryServices>) {
    const { prefix = '', after, limit = DIRECTORY_PAGE_MAX } = filter;
    const { names } = this.#services;
    const page = new Page<ReturnType<typeof summaryOf>>(limit);
    const begin =
      after === undefined || after < prefix ? firstNot(names, prefix, false) : firstNot(names, after, true);
    let at = begin;
    for (; at < names.length; at++) {
      const name = names[at] as string;
      // Sorted: what begins alike stands together.
      if (!name.startsWith(prefix)) return { services: page.items };
      if (at - begin === DIRECTORY_SCAN_MAX) break;
      const service = this.#services.snapshotOf(name);
      if (service === undefined || !matches(service, filter)) continue;
      const { uri, contract: kind, problem } = service;
      if (!page.add(summaryOf(service), uri, name, kind, problem)) break;
    }
    return at < names.length ? { services: page.items, next: names[at - 1] } : { services: page.items };
  }
}

function matches(
  service: ServiceSnapshot,
  { contract: kind, state }: Received<typeof QueryServices>,
): boolean {
  return (
    (kind === undefined || service.contract === kind) && (state === undefined || service.state === state)
  );
}
