// What a runtime says of itself at one moment, as plain data: for the monitor's page, the command line and the directory.
// Types only, so that the page, which runs in a browser, can share them; knows nothing of how a runtime comes by them.

/**
 * `failed`: it did not start, or ended by an error that `problem` tells; `stopped`: it was unloaded, or ended in good order.
 */
export type ServiceState = 'starting' | 'running' | 'failed' | 'stopped';

/** Where a service lives: on the runtime's own thread, in a worker thread, or in a child process. */
export type ServiceHost = 'here' | 'thread' | 'process';

/** A service's queue. The counters begin with the service and only grow. */
export interface PortSnapshot {
  /** Messages waiting now. */
  readonly depth: number;
  /** How many may wait; the next one is refused. */
  readonly depthMax: number;
  /** Messages that were handed to the service. */
  readonly delivered: number;
  /** Messages that were not taken: the port was full, or its contract does not know them. */
  readonly refused: number;
  /** Messages that were answered with a fault. */
  readonly faults: number;
  /** Messages that the service works on now. */
  readonly running: number;
}

export interface ServiceSnapshot {
  /** Prefix and name; no two services of a runtime have the same. */
  readonly uri: string;
  readonly name: string;
  /** The URI of its contract. */
  readonly contract: string;
  readonly state: ServiceState;
  readonly host: ServiceHost;
  /** URIs of its partners by the name it has for them. */
  readonly partners: Readonly<Record<string, string>>;
  /** What is wrong with it, as a sentence. */
  readonly problem?: string;
  readonly port: PortSnapshot;
  /** Subscriptions to it that stand. */
  readonly subscribers: number;
}

/** Counters since the connection began. */
export interface Traffic {
  readonly messages: number;
}

export interface ConnectionSnapshot {
  /** The runtime's number for it. It stays over reconnects and is given to no other connection. */
  readonly id: number;
  /** Who is at the other end, as it says itself; not proven. */
  readonly peer: string;
  /** What authentication made of it. */
  readonly principal: string;
  /** What carries it, or carried it last. */
  readonly transport: string;
  readonly encoding: string;
  readonly state: 'connecting' | 'open' | 'interrupted' | 'closed';
  readonly sent: Traffic;
  readonly received: Traffic;
}

/** Registered memory. */
export interface MemorySnapshot {
  readonly slabs: number;
  readonly slabBytes: number;
  /** Buffers that somebody holds, and their bytes. */
  readonly buffers: number;
  readonly bufferBytes: number;
  /** How many buffers were ever allocated. */
  readonly allocations: number;
}

/** Counters since the runtime began. */
export interface MessagesSnapshot {
  /** Delivered within this runtime. */
  readonly local: number;
  /** Sent to other runtimes. */
  readonly out: number;
  /** Arrived from other runtimes. */
  readonly in: number;
  /** Answered with a fault, whoever asked. */
  readonly faults: number;
}

/** One moment of a runtime. Whoever asks for it owns it: nothing in it changes later. */
export interface RuntimeSnapshot {
  /** The manifest's name. */
  readonly name: string;
  /** Of the network manager; absent where there is none. */
  readonly nodeId?: string;
  /** What stands before a service's name in its URI. */
  readonly prefix: string;
  /** Since the runtime was started, by a clock that does not jump. */
  readonly uptimeMs: number;
  readonly services: readonly ServiceSnapshot[];
  readonly connections: readonly ConnectionSnapshot[];
  /** Absent where nothing is registered, because there is no network manager. */
  readonly memory?: MemorySnapshot;
  readonly messages: MessagesSnapshot;
}
