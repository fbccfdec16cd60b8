// A runtime of the decentralized operating system, as programs embed it: started from a manifest or from options, with the services
// that it loads and those that the program adds. Several can stand in one process, and each reaches the others' services by URI.
import { dirname, resolve } from 'node:path';
import type { RegisteredBuffer } from '../dataplane/memory.js';
import { SplitplaneError } from '../errors.js';
import type { NetworkManager } from '../network/manager.js';
import type { Client } from './client.js';
import { type Proxy } from './client.js';
import type { AnyContract } from './contract.js';
import { Kernel, type Log, type Tuning } from './kernel.js';
import { Journal } from './journal.js';
import { ServiceLoader } from './loader.js';
import type { LoadInit } from './loaded-service.js';
import { readManifest, type Manifest, type ServiceEntry } from './manifest.js';
import { Monitor } from './monitor/monitor.js';
import type { Connection, ConnectionFacts } from '../network/connection.js';
import type { ListeningAddress } from '../network/listening.js';
import type { SecurityManager, SecuritySource } from './security-manager.js';
import type { AnyService, NotificationHandlers } from './service.js';
import type { ConnectionSnapshot, RuntimeSnapshot } from './snapshot.js';
import type { NodeFacts } from './services/node.js';
import { OWN_NAMES, ownServices } from './services/own.js';
import type { Subscribed, SubscribeOptions } from './subscriber.js';

/** What a runtime without a manifest is made of. With a `source`, the constructor loads modules from its folder. */
export interface RuntimeInit extends Partial<
  Pick<Manifest, 'name' | 'source' | 'network' | 'monitor' | 'services'>
> {
  /** Where there is a network, somebody has to say who may do what; without one it is off when left out. */
  readonly security?: SecuritySource | undefined;
}

export interface RuntimeOptions {
  /**
   * Gets what services and the runtime have to say, fit to be printed, beside the console; warnings and errors go to standard
   * error when left out.
   */
  readonly log?: Log | undefined;
  /** What a manifest does not say of the network. */
  readonly tuning?: Tuning | undefined;
}

/** The principal of the program that embeds a runtime. */
const PROGRAM = 'program';

export class Runtime implements AsyncDisposable {
  readonly name: string;
  readonly #kernel: Kernel;
  readonly #loader: ServiceLoader;
  readonly #client: Client;
  readonly #startedAt = performance.now();
  #monitor: Monitor | undefined;
  #closing: Promise<void> | undefined;

  private constructor(name: string, kernel: Kernel) {
    this.name = name;
    this.#kernel = kernel;
    this.#loader = new ServiceLoader(kernel);
    this.#client = kernel.client({ principal: PROGRAM, owner: undefined });
  }

  /**
   * Steps 402 to 426: reads the manifest at this path, or takes what it would say, and loads what it names, in order. Settles when
   * every service has started or failed (see `services`). Rejects with MANIFEST_INVALID, with what is wrong with the policy,
   * and with what listening rejects with; then nothing is left running.
   */
  static async start(from: string | RuntimeInit = {}, options: RuntimeOptions = {}): Promise<Runtime> {
    const manifest: RuntimeInit = typeof from === 'string' ? await readManifest(from) : from;
    const { name = 'runtime', source, network, monitor, services = [] } = manifest;
    const security = securityOf(manifest);
    const journal = new Journal(options.log ?? logToStderr);
    const kernel = await Kernel.start({ name, security, network, tuning: options.tuning }, journal.log);
    const runtime = new Runtime(name, kernel);
    try {
      await runtime.#loadOwn(journal, source === undefined ? undefined : dirname(resolve(source)));
      // Before the other services: one that takes its time to start, or never does, is to be seen.
      if (monitor !== undefined) await runtime.#show(monitor.listen, network?.allowInsecure);
      await runtime.#loader.loadAll(services);
      return runtime;
    } catch (error) {
      await runtime.close();
      throw error;
    }
  }

  /** What stands before every service's name. */
  get prefix(): string {
    return this.#kernel.uris.prefix;
  }

  /** Undefined where there is no network binding. */
  get network(): NetworkManager | undefined {
    return this.#kernel.network;
  }

  /** Where the monitor's page is; undefined when none was asked for. */
  get monitorUrl(): string | undefined {
    return this.#monitor?.url;
  }

  /** Where peers reach this runtime; empty where it only connects, or has no network binding. */
  get listening(): readonly ListeningAddress[] {
    return this.#kernel.listening;
  }

  /** Who may do what: its policy can be changed while the runtime runs. */
  get security(): SecurityManager {
    return this.#kernel.security;
  }

  /** Adds a service that is an object already. Settles with its URI when it has started. Rejects with what keeps it from that. */
  async add(service: AnyService, init: LoadInit = {}): Promise<string> {
    return (await this.#loader.add(service, init)).uri;
  }

  /** Loads a service as a manifest would. Settles with its URI. */
  async load(entry: ServiceEntry): Promise<string> {
    return (await this.#loader.load(entry)).uri;
  }

  /** Ends a service: what waits for it is refused. Settles when it has stopped. */
  async unload(name: string): Promise<void> {
    await this.#loader.unload(name);
  }

  /** Puts another object, or the module's newer text, behind the same URI. No message is lost meanwhile. */
  async replace(name: string, service?: AnyService): Promise<void> {
    await this.#loader.replace(name, service);
  }

  /** A service, here or anywhere, as an object with a method for each operation of its contract. */
  proxy<C extends AnyContract>(contract: C, uri: string): Proxy<C> {
    return this.#client.proxy(contract, uri);
  }

  /** What sends messages for the program: those that no contract describes, too. */
  get client(): Client {
    return this.#client;
  }

  /** Has the handlers called for what a publisher tells, until the subscription ends. Settles when the publisher has accepted. */
  subscribe<C extends AnyContract>(
    contract: C,
    uri: string,
    handlers: NotificationHandlers<C>,
    options?: SubscribeOptions,
  ): Promise<Subscribed> {
    return this.#kernel.subscribe(this.#client, contract, uri, handlers, options);
  }

  /** Registered memory. Contents undefined; whoever has it last releases it. Throws OUT_OF_MEMORY. */
  allocate(length: number): RegisteredBuffer {
    return this.#kernel.allocate(length);
  }

  /**
   * A regular file as something to lend: a peer gets its bytes from where they lie. Whoever has it last releases it. Rejects with
   * SYSTEM (cause: the system's error), and INVALID_ARGUMENT for what is no regular file or has no bytes.
   */
  registerFile(path: string): Promise<RegisteredBuffer> {
    return this.#kernel.registerFile(path);
  }

  /** What runs here now. */
  snapshot(): RuntimeSnapshot {
    const { network, uris, dispatcher, memory } = this.#kernel;
    const services = this.#loader.snapshots;
    const { local, out, in: arrived, refused } = dispatcher.counters;
    const faults = services.reduce((sum, { port }) => sum + port.faults + port.refused, refused);
    return {
      name: this.name,
      ...(network === undefined ? {} : { nodeId: network.nodeId }),
      prefix: uris.prefix,
      uptimeMs: performance.now() - this.#startedAt,
      services,
      connections: network === undefined ? [] : network.connections.flatMap(describeConnection),
      ...(memory === undefined ? {} : { memory: { ...memory } }),
      messages: { local, out, in: arrived, faults },
    };
  }

  /** What is part of the runtime comes first, so that it sees what happens to the others. */
  async #loadOwn(journal: Journal, folder: string | undefined): Promise<void> {
    const { uris, security } = this.#kernel;
    const own = ownServices({
      journal,
      loader: this.#loader,
      names: uris,
      node: this.#facts(),
      security,
      folder,
    });
    for (const name of OWN_NAMES) await this.#loader.add(own[name], { name }, true);
  }

  #facts(): NodeFacts {
    const kernel = this.#kernel;
    const uptime = (): number => performance.now() - this.#startedAt;
    return {
      snapshot: () => this.snapshot(),
      get uptimeMs() {
        return uptime();
      },
      get transports() {
        return kernel.network?.transports ?? [];
      },
      get counters() {
        return kernel.network?.stats.transports ?? {};
      },
      get listening() {
        return kernel.listening;
      },
    };
  }

  /**
   * Stops the monitor, then every service, the last one loaded first, then the network. Settles when nothing is left. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #show(listen: string, allowInsecure: boolean | undefined): Promise<void> {
    this.#monitor = await Monitor.open(listen, () => this.snapshot(), { allowInsecure });
  }

  async #end(): Promise<void> {
    try {
      await this.#monitor?.close();
      await this.#loader.close();
    } finally {
      await this.#kernel.close();
    }
  }
}

function securityOf({ security, network }: RuntimeInit): SecuritySource {
  if (security !== undefined) return security;
  if (network === undefined) return { off: true };
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    'Others can reach this runtime: name a policy with security: { off: false, policy: FILE }, or say security: { off: true }.',
  );
}

function logToStderr(level: string, source: string, text: string): void {
  // Lines that go on are set in, so that none of them looks like one that begins.
  if (level !== 'info') process.stderr.write(`${level}: ${source}: ${text.replaceAll('\n', '\n  ')}\n`);
}

/** Nothing for one that ended this very moment. */
function describeConnection(connection: Connection): ConnectionSnapshot[] {
  const { session: id, state, principal } = connection;
  if (state === 'connecting' || state === 'closed') return [];
  const facts = factsOf(connection);
  if (facts === undefined) return [];
  const { transport, encoding, messagesSent, messagesReceived } = facts;
  const peer = `${connection.peer.identity} at ${connection.peer.remoteAddress}`;
  return [
    {
      id,
      peer,
      principal,
      transport,
      encoding,
      state,
      sent: { messages: messagesSent },
      received: { messages: messagesReceived },
    },
  ];
}

/** The engine knows of an end before the connection is told. */
function factsOf(connection: Connection): ConnectionFacts | undefined {
  try {
    return connection.facts;
  } catch (error) {
    if (error instanceof SplitplaneError && error.code === 'CLOSED') return undefined;
    throw error;
  }
}
