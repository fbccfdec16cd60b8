// Snapshots of runtimes that do not exist, as many services as a test wants, for what only reads snapshots.
import type {
  ConnectionSnapshot,
  PortSnapshot,
  RuntimeSnapshot,
  ServiceSnapshot,
} from '../../lib/runtime/snapshot.js';

export const PREFIX = 'dos://127.0.0.1:7350/';

export function service(
  name: string,
  also: Partial<Omit<ServiceSnapshot, 'port'>> & { readonly port?: Partial<PortSnapshot> } = {},
): ServiceSnapshot {
  return {
    uri: `${PREFIX}${name}`,
    name,
    contract: 'urn:example:part:1',
    state: 'running',
    host: 'here',
    partners: {},
    subscribers: 0,
    ...also,
    port: { depth: 0, depthMax: 1024, delivered: 0, refused: 0, faults: 0, running: 0, ...also.port },
  };
}

export function connection(id: number, also: Partial<ConnectionSnapshot> = {}): ConnectionSnapshot {
  return {
    id,
    peer: `host-${id}`,
    principal: 'anonymous',
    transport: 'tcp',
    encoding: 'fastinfoset',
    state: 'open',
    sent: { messages: 0 },
    received: { messages: 0 },
    ...also,
  };
}

export function snapshot(also: Partial<RuntimeSnapshot> = {}): RuntimeSnapshot {
  return {
    name: 'camera-host',
    nodeId: '00112233445566778899aabbccddeeff',
    prefix: PREFIX,
    uptimeMs: 60_000,
    services: [],
    connections: [],
    memory: { slabs: 1, slabBytes: 2 ** 21, buffers: 3, bufferBytes: 2 ** 20, allocations: 10 },
    messages: { local: 0, out: 0, in: 0, faults: 0 },
    ...also,
  };
}

/** `service-0` and so on. */
export function manyServices(count: number): ServiceSnapshot[] {
  return Array.from({ length: count }, (_, index) => service(`service-${index}`));
}
