// The node service: which machine and process a runtime lives in, how it can be reached and why not otherwise, and a snapshot of the
// runtime itself. Everything is read when it is asked for.
import { arch, cpus, freemem, hostname, loadavg, platform, release, totalmem } from 'node:os';
import type { TransportCounters, TransportFacts } from '../../dataplane/native.js';
import type { ListeningAddress } from '../../network/listening.js';
import { contract, Get } from '../contract.js';
import { printableLine } from '../printable.js';
import { Service, type Handlers } from '../service.js';
import type { RuntimeSnapshot } from '../snapshot.js';
import { body, boolean, choice, integer, list, number, optional, record, text } from '../shape.js';
import { version } from '../version.js';
import { serviceFields, summaryOf, type ServiceSummary } from './descriptions.js';
import { Page } from './page.js';

/** Services, and connections, that a snapshot in a message holds. The directory has all of the services. */
export const SNAPSHOT_ROWS_MAX = 100;

const count = (): ReturnType<typeof integer> => integer(0);

const NodeState = body('GetResponse', {
  hostname: text(),
  /** As Node calls them: linux, x64. */
  platform: text(),
  arch: text(),
  osRelease: text(),
  pid: count(),
  versions: record({ splitplane: text(), node: text() }),
  /** Milliseconds since the runtime was started, by a clock that does not jump. */
  uptimeMs: number(),
  cpus: record({
    count: count(),
    model: optional(text()),
    /** Over 1, 5 and 15 minutes. */
    load: list(number()),
  }),
  /** Of the host, and of this process. */
  memory: record({
    totalBytes: count(),
    freeBytes: count(),
    residentBytes: count(),
    heapBytes: count(),
  }),
  /** The transports of this build; none where the runtime has no network binding. */
  transports: list(
    record({
      name: text(),
      available: boolean(),
      /** Why it cannot be used here. */
      reason: optional(text()),
      facts: list(record({ name: text(), text: text() })),
      /** Bytes of buffers, not of messages, since the runtime began; and of those, the ones that this process copied. */
      moved: record({ sentBytes: count(), receivedBytes: count(), copiedBytes: count() }),
    }),
  ),
  /** Where peers reach this runtime. */
  listening: list(
    record({
      address: text(),
      addresses: list(text()),
      passedOver: list(record({ transport: text(), reason: text() })),
    }),
  ),
});

const Snapshot = body('SnapshotResponse', {
  name: text(),
  nodeId: optional(text()),
  prefix: text(),
  uptimeMs: number(),
  /** All there are, of which `services` are the first. */
  serviceCount: count(),
  services: list(record(serviceFields)),
  /** All there are, of which `connections` are the first. */
  connectionCount: count(),
  connections: list(
    record({
      id: count(),
      peer: text(),
      principal: text(),
      transport: text(),
      encoding: text(),
      state: choice('connecting', 'open', 'interrupted', 'closed'),
      sent: record({ messages: count() }),
      received: record({ messages: count() }),
    }),
  ),
  memory: optional(
    record({
      slabs: count(),
      slabBytes: count(),
      buffers: count(),
      bufferBytes: count(),
      allocations: count(),
    }),
  ),
  messages: record({ local: count(), out: count(), in: count(), faults: count() }),
});

export const Node = contract('urn:splitplane:node:1', {
  operations: {
    /** The machine and the process. */
    get: Get(NodeState),
    /** The runtime: RuntimeSnapshot, as far as it fits into a message. */
    snapshot: Get(body('Snapshot', {}), Snapshot),
  },
});

/** What the node service reads. */
export interface NodeFacts {
  snapshot(): RuntimeSnapshot;
  readonly uptimeMs: number;
  readonly transports: readonly TransportFacts[];
  /** By the names of transports. */
  readonly counters: Readonly<Record<string, TransportCounters>>;
  readonly listening: readonly Omit<ListeningAddress, 'close'>[];
}

export class NodeService extends Service<typeof Node> {
  readonly contract = Node;
  readonly #facts: NodeFacts;

  readonly handlers: Handlers<typeof Node> = {
    get: () => this.#node(),
    snapshot: () => written(this.#facts.snapshot()),
  };

  constructor(facts: NodeFacts) {
    super();
    this.#facts = facts;
  }

  #node() {
    const { uptimeMs, transports, counters, listening } = this.#facts;
    const { rss, heapUsed } = process.memoryUsage();
    const processors = cpus();
    return {
      hostname: hostname(),
      platform: platform(),
      arch: arch(),
      osRelease: release(),
      pid: process.pid,
      versions: { splitplane: version, node: process.versions.node },
      uptimeMs,
      cpus: { count: processors.length, model: processors[0]?.model, load: loadavg() },
      memory: { totalBytes: totalmem(), freeBytes: freemem(), residentBytes: rss, heapBytes: heapUsed },
      transports: transports.map(({ name, available, reason, facts }) => ({
        name,
        available,
        reason,
        facts,
        moved: movedBy(counters[name]),
      })),
      listening: listening.map(({ address, addresses, passedOver }) => ({
        address,
        addresses,
        passedOver: passedOver.map(({ transport, reason }) => ({ transport, reason })),
      })),
    };
  }
}

function movedBy(counters: TransportCounters | undefined) {
  const { bytesSent = 0, bytesReceived = 0, bytesCopied = 0 } = counters ?? {};
  return { sentBytes: bytesSent, receivedBytes: bytesReceived, copiedBytes: bytesCopied };
}

function written({ services, connections, ...rest }: RuntimeSnapshot) {
  const first = new Page<ServiceSummary>(SNAPSHOT_ROWS_MAX);
  services.every((service) => {
    const { uri, name, contract: kind, problem } = service;
    return first.add(summaryOf(service), uri, name, kind, problem);
  });
  return {
    ...rest,
    serviceCount: services.length,
    services: first.items,
    connectionCount: connections.length,
    // What a peer calls itself may be any text, and not all of it goes into a message.
    connections: connections
      .slice(0, SNAPSHOT_ROWS_MAX)
      .map((connection) => ({ ...connection, peer: printableLine(connection.peer) })),
  };
}
