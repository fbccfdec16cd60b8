// How services tell others what runs here: the shapes of a service's description, and a snapshot written as one. Shared by the
// directory, which lists services, and the node, which tells of the whole runtime.
import type { ServiceSnapshot } from '../snapshot.js';
import { choice, integer, list, optional, record, text, type SentRecord } from '../shape.js';

export const SERVICE_STATES = ['starting', 'running', 'failed', 'stopped'] as const;
export const SERVICE_HOSTS = ['here', 'thread', 'process'] as const;

const count = (): ReturnType<typeof integer> => integer(0);

/** The fields of a service's description. */
export const serviceFields = {
  uri: text(),
  name: text(),
  /** The URI of its contract; empty where a service failed before it could tell. */
  contract: text(),
  state: choice(...SERVICE_STATES),
  host: choice(...SERVICE_HOSTS),
  /** What is wrong with it, as a sentence. */
  problem: optional(text()),
  /** Subscriptions to it that stand. */
  subscribers: count(),
  /** Its queue; see PortSnapshot. */
  port: record({
    depth: count(),
    depthMax: count(),
    delivered: count(),
    refused: count(),
    faults: count(),
    running: count(),
  }),
} as const;

export const partnerFields = {
  /** The partners, by the name that the service has for each. */
  partners: list(record({ name: text(), uri: text() })),
} as const;

export type ServiceSummary = SentRecord<typeof serviceFields>;

/** A snapshot without the partners, which may be more than the rest together. */
export function summaryOf(service: ServiceSnapshot): ServiceSummary {
  const { uri, name, contract, state, host, problem, subscribers, port } = service;
  return { uri, name, contract, state, host, problem, subscribers, port };
}

export function partnersOf({ partners }: ServiceSnapshot): SentRecord<typeof partnerFields> {
  return { partners: Object.entries(partners).map(([name, uri]) => ({ name, uri })) };
}
