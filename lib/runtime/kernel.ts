// The distributing kernel: what stands beneath the services of one runtime. Security manager, URI manager, dispatcher, network
// manager, in the order in which a service loader has to load them; what services share; and the end. Knows no service.
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { RegisteredBuffer } from '../dataplane/memory.js';
import type { MemoryCounters } from '../dataplane/native.js';
import { SplitplaneError } from '../errors.js';
import { BATCH_ACTION } from '../network/security.js';
import { NetworkManager, type ConnectOptions } from '../network/manager.js';
import type { ListeningAddress } from '../network/listening.js';
import type { Serializer } from '../serializer/registry.js';
import type { NetworkManagerOptions } from '../network/options.js';
import type { Peer } from '../network/security.js';
import { SoapFault } from '../soap/fault.js';
import { Client, type Carrier } from './client.js';
import type { AnyContract } from './contract.js';
import { Deadlines } from './deadlines.js';
import type { Answer, Outgoing, Sender } from './delivery.js';
import { describe } from './describe.js';
import { Dispatcher } from './dispatcher.js';
import type { Manifest, NetworkEntry } from './manifest.js';
import type { Publisher } from './publisher.js';
import { RuntimeNetwork, type NetworkOwner } from './network.js';
import { Port, Schedule } from './port.js';
import { SecurityManager, type SecuritySource } from './security-manager.js';
import type { NotificationHandlers } from './service.js';
import { NotificationReceiver, Subscribed, type SubscribeOptions } from './subscriber.js';
import { nodePrefix } from './uri.js';
import { UriManager } from './uri-manager.js';

/** Milliseconds that an answer may take where nobody says anything else. */
export const TIMEOUT_MS_DEFAULT = 30_000;

/** The principal of a runtime to its own parts. */
const RUNTIME_PRINCIPAL = 'runtime';

export type LogLevel = 'info' | 'warning' | 'error';
export type Log = (level: LogLevel, source: string, text: string) => void;

/** What a program may say of the network binding beyond what a manifest does. */
export interface Tuning extends Pick<NetworkManagerOptions, 'connectTimeoutMs' | 'resumeMs'> {
  /** Whoever connects is trusted with this process's registered memory: ListenOptions.trustedPeers. */
  readonly trustedPeers?: boolean | undefined;
}

/** What a kernel stands on. */
export interface KernelInit extends Pick<Manifest, 'name' | 'network'> {
  readonly security: SecuritySource;
  readonly tuning?: Tuning | undefined;
  /** Encodings of what leaves and arrives, for who looks at it; those of NetworkManager when left out. */
  readonly serializers?: readonly Serializer[] | undefined;
}

/** In a thread or process of a service: the runtime that it belongs to. */
export interface Parent {
  /** Where the runtime waits for it, and the id of the network manager that has to answer there. */
  readonly address: string;
  readonly nodeId: string;
  /** What stands before names, and what else the runtime is called. */
  readonly prefix: string;
  readonly authorities: readonly string[];
  /** Told before connecting, by the id that the runtime will know this part of it by. Settles when it waits. */
  expect(nodeId: string): Promise<void>;
  /** The fault for a principal that may not have the buffers of the service. */
  askMemory(principal: string): Promise<SoapFault | undefined>;
  /** What another peer is to the runtime's security manager; undefined refuses it. */
  authenticate(peer: Peer): Promise<string | undefined>;
}

type Principal = string | undefined;
/** Says what a peer is that is a part of this runtime, or for other reasons none of the security manager's. */
export type Admit = (peer: Peer) => { readonly principal: Principal | Promise<Principal> } | undefined;

export class Kernel implements Carrier {
  readonly security: SecurityManager;
  readonly uris: UriManager;
  readonly dispatcher: Dispatcher;
  readonly schedule = new Schedule();
  readonly log: Log;
  readonly timeoutMs = TIMEOUT_MS_DEFAULT;
  /** Of the services that have something to publish. */
  readonly publishers = new Set<Pick<Publisher, 'removeBelow'>>();
  /** What the manifest says of the network; undefined where there is no binding. */
  readonly binding: NetworkEntry | undefined;
  readonly #name: string;
  readonly #serializers: KernelInit['serializers'];
  readonly #deadlines = new Deadlines();
  readonly #subscriptions = new Set<Subscribed>();
  #manager: NetworkManager | undefined;
  #bound = false;
  #way: RuntimeNetwork | undefined;
  #admit: Admit = () => undefined;
  #closed = false;
  #listening: readonly ListeningAddress[] = [];

  private constructor({ name, network, serializers }: KernelInit, security: SecurityManager, log: Log) {
    this.#name = name;
    this.#serializers = serializers;
    this.binding = network;
    this.security = security;
    this.log = (level, source, text) => {
      try {
        log(level, source, text);
      } catch (error) {
        // Whoever embeds the runtime wrote it; what it fails of must not end what is being told of.
        process.emitWarning(`The log of the runtime failed: ${describe(error)}`, 'SplitplaneLog');
      }
    };
    this.uris = new UriManager((principal, name) => security.registration(principal, name));
    this.dispatcher = new Dispatcher(this.uris, security, this.#deadlines);
  }

  /**
   * Steps 410 to 422. Rejects with what is wrong with the policy, the credentials or the addresses; then nothing is left. With a
   * `parent` it is a part of that runtime: it listens nowhere, and rejects when the runtime cannot be reached.
   */
  static async start(init: KernelInit, log: Log, parent?: Parent): Promise<Kernel> {
    const security = await SecurityManager.load(init.security, {
      log: (text) => {
        log('warning', 'security', text);
      },
    });
    const kernel = new Kernel(init, security, log);
    try {
      if (parent !== undefined) await kernel.#follow(parent);
      else if (init.network !== undefined) await kernel.#bind(init.network, init.tuning ?? {});
      return kernel;
    } catch (error) {
      await kernel.close();
      throw error;
    }
  }

  /** Undefined where there is no network binding: then messages stay among the services here. */
  get network(): NetworkManager | undefined {
    return this.#bound ? this.#manager : undefined;
  }

  /** Where peers reach this runtime. */
  get listening(): readonly ListeningAddress[] {
    return this.#listening;
  }

  /** Counters of registered memory; undefined as long as nobody had any. */
  get memory(): MemoryCounters | undefined {
    return this.#manager?.stats.memory;
  }

  /** Contents undefined; whoever has it last releases it. Throws OUT_OF_MEMORY, CLOSED. */
  allocate(length: number): RegisteredBuffer {
    return (this.#manager ?? this.#open({})).allocate(length);
  }

  /** A regular file as something to lend. See Memory.registerFile. Throws CLOSED. */
  registerFile(path: string): Promise<RegisteredBuffer> {
    return (this.#manager ?? this.#open({})).registerFile(path);
  }

  /**
   * The ways to threads and processes of services, which there are without a network binding, too. `admit` knows them when they
   * connect.
   */
  host(admit: Admit): { readonly manager: NetworkManager; readonly network: RuntimeNetwork } {
    const manager = this.#manager ?? this.#open({});
    this.#admit = admit;
    return { manager, network: this.#way ?? this.#run(manager, undefined) };
  }

  /** The sending side for somebody. */
  client(sender: Sender): Client {
    return new Client(this, sender);
  }

  request(out: Outgoing): Promise<Answer> {
    return this.dispatcher.request(out);
  }

  /** Has `handlers` called for what the publisher at `uri` tells. Settles when it has accepted; rejects as a request does. */
  async subscribe<P extends AnyContract>(
    client: Client,
    contract: P,
    uri: string,
    handlers: NotificationHandlers<P>,
    options: SubscribeOptions = {},
  ): Promise<Subscribed> {
    const bodies = contract.notifications as Record<string, { readonly name: string } | undefined>;
    const wanted = Object.entries<unknown>(handlers).filter(([, handler]) => handler !== undefined);
    const types = wanted.map(([name]) => {
      const body = bodies[name];
      if (body !== undefined) return body.name;
      throw new SplitplaneError('INVALID_ARGUMENT', `${contract.uri} has no notification ${name}.`);
    });
    // To the publisher no types would be all of them.
    if (types.length === 0)
      throw new SplitplaneError('INVALID_ARGUMENT', 'Give a handler for at least one notification.');
    const receiver = new NotificationReceiver(contract, handlers as never, {
      failed: (error) => {
        this.log('error', client.sender.principal, `A handler of notifications failed: ${describe(error)}`);
      },
      told: () => {
        subscribed.told();
      },
    });
    const port = new Port(receiver, this.schedule);
    const { principal } = client.sender;
    const registration = this.uris.register({ principal, target: port, internal: true });
    const { signal, count, expiresMs } = options;
    const request = { subscriber: registration.uri, types, count, expiresMs };
    const subscribed = new Subscribed(client, uri, request, () => {
      this.uris.remove(registration.uri);
      port.close(SUBSCRIPTION_ENDED);
      this.#subscriptions.delete(subscribed);
    });
    this.#subscriptions.add(subscribed);
    return await subscribed.begin(signal);
  }

  /** A runtime is not connected any more: what it has subscribed to is not told to it. */
  gone(nodeId: string): void {
    for (const publisher of this.publishers) publisher.removeBelow(nodePrefix(nodeId));
  }

  /** Ends the network binding in good order, if there is one, and everything that services share. Idempotent. */
  async close(): Promise<void> {
    const manager = this.#manager;
    // Publishers elsewhere are told, and not waited for.
    for (const subscribed of this.#subscriptions) void subscribed[Symbol.asyncDispose]();
    this.#deadlines.close();
    this.#closed = true;
    this.#manager = undefined;
    this.dispatcher.network = undefined;
    await manager?.close();
    await this.security.close();
  }

  /** Steps 416 to 422. */
  async #bind(entry: NetworkEntry, { trustedPeers, ...tuning }: Tuning): Promise<void> {
    const manager = await this.#openAs(entry, tuning);
    this.#bound = true;
    this.#listening = await listenAll(manager, entry, trustedPeers);
    const authorities = this.#listening
      .map(({ address }) => authorityOf(address))
      .filter((one) => one !== undefined);
    const node = nodePrefix(manager.nodeId);
    const [first] = authorities;
    this.uris.setPrefix(first === undefined ? node : `dos://${publicAuthority(first)}/`, node, authorities);
    this.#run(manager, { allowInsecure: entry.allowInsecure });
  }

  /** Becomes a part of a runtime: the same names, and the same ways to others. */
  async #follow(parent: Parent): Promise<void> {
    const entry = this.binding;
    const { allowInsecure = false, transports, ...rest } = entry ?? {};
    // The way to the runtime is a unix socket, whatever leads to others.
    const all = transports && [...new Set([...transports, 'tcp'])];
    const manager = await this.#openAs({ ...rest, transports: all });
    this.#bound = entry !== undefined;
    this.uris.setPrefix(parent.prefix, nodePrefix(manager.nodeId), parent.authorities);
    // The first that it connects to is the runtime, and nobody connects to it.
    this.#admit = (peer) => ({
      principal: this.#way === undefined ? RUNTIME_PRINCIPAL : parent.authenticate(peer),
    });
    await parent.expect(manager.nodeId);
    const connection = await manager.connect(parent.address, { expectedNodeId: parent.nodeId });
    const ask = (principal: string): Promise<SoapFault | undefined> => parent.askMemory(principal);
    this.#run(manager, entry && { allowInsecure, transports }, ask).follow(connection);
  }

  async #openAs(
    { transports, poll, credentials }: Pick<NetworkEntry, 'transports' | 'poll' | 'credentials'>,
    tuning: Omit<Tuning, 'trustedPeers'> = {},
  ): Promise<NetworkManager> {
    return this.#open({
      ...tuning,
      transports,
      poll,
      credentials: credentials === undefined ? undefined : await readCredentials(credentials),
    });
  }

  #open(options: NetworkManagerOptions): NetworkManager {
    if (this.#closed) throw new SplitplaneError('CLOSED', 'The runtime is not running.');
    const manager = new NetworkManager({
      ...options,
      identity: this.#name,
      serializers: this.#serializers,
      authenticate: (peer) => {
        const own = this.#admit(peer);
        return own === undefined ? this.security.authenticate(peer) : own.principal;
      },
      // Messages are judged by the dispatcher. A batch has no address, so that no service would ever take it.
      authorize: ({ action }) => action !== BATCH_ACTION,
    });
    manager.on('leak', ({ length }) => {
      this.log('warning', 'memory', `A buffer of ${length} bytes was never released.`);
    });
    this.#manager = manager;
    return manager;
  }

  #run(
    manager: NetworkManager,
    connectOptions: ConnectOptions | undefined,
    askMemory?: NetworkOwner['askMemory'],
  ): RuntimeNetwork {
    const network = new RuntimeNetwork(manager, {
      deadlines: this.#deadlines,
      judgeMemory: (principal, owner) => this.dispatcher.judgeMemory(principal, owner),
      timeoutMs: this.timeoutMs,
      connectOptions,
      askMemory,
      arrive: (delivery) => {
        this.dispatcher.arrive(delivery);
      },
      gone: (nodeId) => {
        const others = manager.connections.filter(({ state }) => state !== 'connecting');
        // It may have connected more than once, or this side to it as well.
        if (!others.some(({ peer }) => peer.nodeId === nodeId)) this.gone(nodeId);
      },
    });
    this.#way = network;
    this.dispatcher.network = network;
    void network.run();
    return network;
  }
}

const SUBSCRIPTION_ENDED = SoapFault.dssp('UnknownEntry', 'This subscription has ended.');

async function listenAll(
  manager: NetworkManager,
  { listen, allowInsecure }: NetworkEntry,
  trustedPeers: boolean | undefined,
): Promise<ListeningAddress[]> {
  const listening: ListeningAddress[] = [];
  for (const address of listen)
    listening.push(await manager.listen(address, { allowInsecure, trustedPeers }));
  return listening;
}

async function readCredentials(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new SplitplaneError('SYSTEM', `The credentials cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** HOST:PORT of an address that was listened at; undefined for a unix socket. */
function authorityOf(address: string): string | undefined {
  if (address.startsWith('unix:')) return undefined;
  return address.replace(/^[a-z]+:\/\//, '');
}

/** An address that stands for all of this host's is no address to others. */
function publicAuthority(authority: string): string {
  return authority.replace(/^(?:0\.0\.0\.0|\[::\])(?=:\d+$)/, hostname());
}
