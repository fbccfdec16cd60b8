// The distributing kernel: what stands beneath the services of one runtime. Security manager, URI manager, dispatcher, network
// manager, in the order in which a service loader has to load them; what services share; and the end. Knows no service.
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { inspect } from 'node:util';
import type { RegisteredBuffer } from '../dataplane/memory.js';
import { SplitplaneError } from '../errors.js';
import { NetworkManager } from '../network/manager.js';
import type { ListeningAddress } from '../network/listening.js';
import type { Serializer } from '../serializer/registry.js';
import { SoapFault } from '../soap/fault.js';
import { Client, type Carrier } from './client.js';
import type { AnyContract } from './contract.js';
import { Deadlines } from './deadlines.js';
import type { Answer, Outgoing, Sender } from './delivery.js';
import { Dispatcher } from './dispatcher.js';
import type { Manifest, NetworkEntry } from './manifest.js';
import { RuntimeMemory } from './memory.js';
import type { Publisher } from './publisher.js';
import { RuntimeNetwork } from './network.js';
import { Port, Schedule } from './port.js';
import { SecurityManager } from './security-manager.js';
import type { NotificationHandlers } from './service.js';
import { NotificationReceiver, Subscribed, type SubscribeOptions } from './subscriber.js';
import { nodePrefix } from './uri.js';
import { UriManager } from './uri-manager.js';

/** Milliseconds that an answer may take where nobody says anything else. */
export const TIMEOUT_MS_DEFAULT = 30_000;

export type LogLevel = 'info' | 'warning' | 'error';
export type Log = (level: LogLevel, source: string, text: string) => void;

/** What a kernel stands on. */
export interface KernelInit extends Pick<Manifest, 'name' | 'security' | 'network'> {
  /** Encodings of what leaves and arrives, for who looks at it; those of NetworkManager when left out. */
  readonly serializers?: readonly Serializer[] | undefined;
}

export class Kernel implements Carrier {
  readonly security: SecurityManager;
  readonly uris: UriManager;
  readonly dispatcher: Dispatcher;
  readonly schedule = new Schedule();
  readonly log: Log;
  readonly timeoutMs = TIMEOUT_MS_DEFAULT;
  /** Of the services here that have something to publish. */
  readonly publishers = new Set<Publisher>();
  readonly #deadlines = new Deadlines();
  readonly #subscriptions = new Set<Subscribed>();
  #network: NetworkManager | undefined;
  #memory: RuntimeMemory | undefined;
  #listening: readonly ListeningAddress[] = [];

  private constructor(security: SecurityManager, log: Log) {
    this.security = security;
    this.log = (level, source, text) => {
      try {
        log(level, source, text);
      } catch (error) {
        // Whoever embeds the runtime wrote it; what it fails of must not end what is being told of.
        process.emitWarning(`The log of the runtime failed: ${inspect(error)}`, 'SplitplaneLog');
      }
    };
    this.uris = new UriManager((principal, name) => security.registration(principal, name));
    this.dispatcher = new Dispatcher(this.uris, security, this.#deadlines);
  }

  /** Steps 410 to 422. Rejects with what is wrong with the policy, the credentials or the addresses; then nothing is left. */
  static async start({ name, security: entry, network, serializers }: KernelInit, log: Log): Promise<Kernel> {
    const security = await SecurityManager.load(entry, {
      log: (text) => {
        log('warning', 'security', text);
      },
    });
    const kernel = new Kernel(security, log);
    try {
      if (network !== undefined) await kernel.#bind(name, network, serializers);
      kernel.#memory = new RuntimeMemory(kernel.#network, ({ length }) => {
        log('warning', 'memory', `A buffer of ${length} bytes was never released.`);
      });
      return kernel;
    } catch (error) {
      await kernel.close();
      throw error;
    }
  }

  /** Undefined where there is no network binding: then messages stay among the services here. */
  get network(): NetworkManager | undefined {
    return this.#network;
  }

  /** Where peers reach this runtime. */
  get listening(): readonly ListeningAddress[] {
    return this.#listening;
  }

  get memory(): RuntimeMemory {
    if (this.#memory === undefined) throw new SplitplaneError('CLOSED', 'The runtime is not running.');
    return this.#memory;
  }

  allocate(length: number): RegisteredBuffer {
    return this.memory.allocate(length);
  }

  registerFile(path: string): Promise<RegisteredBuffer> {
    return this.memory.registerFile(path);
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

  /** Ends the network binding in good order, if there is one, and everything that services share. Idempotent. */
  async close(): Promise<void> {
    const network = this.#network;
    // Publishers elsewhere are told, and not waited for.
    for (const subscribed of this.#subscriptions) void subscribed[Symbol.asyncDispose]();
    this.#deadlines.close();
    this.#network = undefined;
    this.dispatcher.network = undefined;
    await network?.close();
    this.#memory?.close();
    await this.security.close();
  }

  /** Steps 416 to 422. */
  async #bind(name: string, entry: NetworkEntry, serializers: KernelInit['serializers']): Promise<void> {
    const { allowInsecure, transports, poll } = entry;
    const credentials =
      entry.credentials === undefined ? undefined : await readCredentials(entry.credentials);
    const manager = new NetworkManager({
      identity: name,
      credentials,
      serializers,
      transports,
      poll,
      authenticate: (peer) => this.security.authenticate(peer),
    });
    try {
      this.#listening = await listenAll(manager, entry);
    } catch (error) {
      manager.destroy();
      throw error;
    }
    const authorities = this.#listening
      .map(({ address }) => authorityOf(address))
      .filter((one) => one !== undefined);
    const node = nodePrefix(manager.nodeId);
    const [first] = authorities;
    this.uris.setPrefix(first === undefined ? node : `dos://${publicAuthority(first)}/`, node, authorities);
    const network = new RuntimeNetwork(manager, {
      deadlines: this.#deadlines,
      judgeMemory: (principal, owner) => this.dispatcher.judgeMemory(principal, owner),
      timeoutMs: this.timeoutMs,
      connectOptions: { allowInsecure },
      arrive: (delivery) => {
        this.dispatcher.arrive(delivery);
      },
      gone: (nodeId) => {
        const others = manager.connections.filter(({ state }) => state !== 'connecting');
        // It may have connected more than once, or this side to it as well.
        if (others.some(({ peer }) => peer.nodeId === nodeId)) return;
        for (const publisher of this.publishers) publisher.removeBelow(nodePrefix(nodeId));
      },
    });
    this.#network = manager;
    this.dispatcher.network = network;
    void network.run();
  }
}

const SUBSCRIPTION_ENDED = SoapFault.dssp('UnknownEntry', 'This subscription has ended.');

async function listenAll(
  manager: NetworkManager,
  { listen, allowInsecure }: NetworkEntry,
): Promise<ListeningAddress[]> {
  const listening: ListeningAddress[] = [];
  for (const address of listen) listening.push(await manager.listen(address, { allowInsecure }));
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

/** What went wrong, for the log. Of whatever a service throws: nothing is asked of it that could throw again. */
export function describe(error: unknown): string {
  return inspect(error);
}
