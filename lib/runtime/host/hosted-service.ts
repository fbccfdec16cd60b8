// A service that lives in a worker thread or child process, as its runtime has it: the line in the mapping table, the thread or
// process and the connection to it, and its life from the beginning to the end. Whatever ends one of these ends all of them. To
// those who send it messages it is a service like any other.
import { SplitplaneError } from '../../errors.js';
import type { Connection } from '../../network/connection.js';
import type { Peer } from '../../network/security.js';
import type { XmlElement } from '../../soap/infoset.js';
import type { Kernel } from '../kernel.js';
import { messageOf } from '../describe.js';
import type { ServiceEntry } from '../manifest.js';
import type { ServiceHost, ServiceSnapshot, ServiceState } from '../snapshot.js';
import { nodePrefix } from '../uri.js';
import type { Registration } from '../uri-manager.js';
import { startProcess, startThread, type Carrier } from './carrier.js';
import type { Door } from './door.js';
import { errorOf } from './failure.js';
import type { Beginning, Facts, FromChild } from './messages.js';
import { encodeState } from './state.js';

/** Milliseconds until a new thread or process has to be connected. */
const CONNECT_MS_MAX = 60_000;
/** Milliseconds that ending in good order may take: its stop() has 5 seconds, and what it is handling as much. */
const STOP_MS_MAX = 12_000;

const NOTHING_YET: Facts = {
  port: { depth: 0, depthMax: 0, delivered: 0, refused: 0, faults: 0, running: 0 },
  subscribers: 0,
};

export interface HostedInit {
  readonly entry: ServiceEntry;
  /** By the name that the service has for each: a URI. */
  readonly partners: Readonly<Record<string, string>>;
}

export interface HostedOwner {
  /** Somebody with the right to it asks the service to end. */
  drop(): Promise<void>;
  /** It has ended although nobody asked for that. */
  failed(error: Error): void;
}

/** Settles once, from outside. */
interface Awaited<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
}

export class HostedService {
  readonly partners: Readonly<Record<string, string>>;
  readonly #kernel: Kernel;
  readonly #door: Door;
  readonly #entry: ServiceEntry;
  readonly #owner: HostedOwner;
  readonly #carrier: Carrier;
  readonly #connected = awaited<Connection>();
  readonly #ready = awaited<string>();
  readonly #started = awaited<undefined>();
  #replacing: Awaited<undefined> | undefined;
  #contract = '';
  #registration: Registration | undefined;
  #leave: (() => void) | undefined;
  #connection: Connection | undefined;
  #state: ServiceState = 'starting';
  #problem: string | undefined;
  #facts = NOTHING_YET;

  /**
   * Starts a thread or process and has it make the service; steps 428 to 444. Messages wait there until start(). Rejects when it
   * cannot be made or registered; then nothing is left of it.
   */
  static async open(
    kernel: Kernel,
    door: Door,
    init: HostedInit,
    owner: HostedOwner,
  ): Promise<HostedService> {
    let timer: NodeJS.Timeout | undefined;
    try {
      await door.open();
      const hosted = new HostedService(kernel, door, init, owner);
      const late = `It has not connected after ${CONNECT_MS_MAX} ms.`;
      timer = setTimeout(() => {
        hosted.#fail(new SplitplaneError('CONNECT_TIMEOUT', late));
      }, CONNECT_MS_MAX);
      await hosted.#prepare(() => {
        clearTimeout(timer);
      });
      return hosted;
    } finally {
      clearTimeout(timer);
      door.leave();
    }
  }

  private constructor(kernel: Kernel, door: Door, { entry, partners }: HostedInit, owner: HostedOwner) {
    this.#kernel = kernel;
    this.#door = door;
    this.#entry = entry;
    this.#owner = owner;
    this.partners = partners;
    for (const { promise } of [this.#connected, this.#ready, this.#started]) promise.catch(() => undefined);
    const start = entry.host === 'thread' ? startThread : startProcess;
    this.#carrier = start(entry.name, (message) => {
      this.#told(message);
    });
    void this.#carrier.ended.then((how) => {
      this.#fail(new SplitplaneError('CONNECTION_LOST', how));
    });
  }

  get uri(): string {
    return this.#kernel.uris.prefix + this.name;
  }

  get name(): string {
    return this.#entry.name;
  }

  get host(): ServiceHost {
    return this.#entry.host;
  }

  get snapshot(): ServiceSnapshot {
    const { uri, name, partners, host } = this;
    return {
      uri,
      name,
      contract: this.#contract,
      state: this.#state,
      host,
      partners,
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
      ...this.#facts,
    };
  }

  /** Starts the service there. Rejects with what keeps it from that; then nothing is left of it. */
  async start(state: XmlElement | undefined): Promise<void> {
    this.#carrier.send({ kind: 'start', state: encodeState(state) });
    await this.#started.promise;
  }

  /** Takes no more messages, and ends the service with its thread or process. Settles when nothing is left of it. */
  async unload(): Promise<void> {
    if (this.#state === 'stopped' || this.#state === 'failed') return;
    this.#state = 'stopped';
    this.#unregister();
    this.#carrier.send({ kind: 'stop' });
    const timer = setTimeout(() => {
      this.#kernel.log(
        'warning',
        this.name,
        `It has not stopped after ${STOP_MS_MAX} ms; it is ended by force.`,
      );
      this.#carrier.kill();
    }, STOP_MS_MAX);
    await this.#carrier.ended;
    clearTimeout(timer);
    const why = this.#over();
    this.#release(why);
    this.#started.resolve(undefined);
    this.#replacing?.reject(why);
  }

  /**
   * Has the service's module loaded anew there. Rejects when the newer one does not start; then the older one goes on. Rejects with
   * CLOSED when the service ends meanwhile, or has ended.
   */
  async replace(module: string): Promise<void> {
    if (this.#state === 'stopped' || this.#state === 'failed') throw this.#over();
    if (this.#replacing !== undefined)
      throw new SplitplaneError('INVALID_ARGUMENT', `${this.name} is being replaced already.`);
    const replacing = awaited<undefined>();
    this.#replacing = replacing;
    this.#carrier.send({ kind: 'replace', module });
    try {
      await replacing.promise;
    } finally {
      this.#replacing = undefined;
    }
  }

  /** Subscribers whose URIs begin like this are gone. */
  removeBelow(prefix: string): void {
    this.#carrier.send({ kind: 'gone', prefix });
  }

  async #prepare(connected: () => void): Promise<void> {
    try {
      this.#carrier.send({ kind: 'begin', beginning: this.#beginning() });
      const { nodeId } = (await this.#connected.promise).peer;
      connected();
      this.#contract = await this.#ready.promise;
      this.#registration = this.#kernel.uris.register({
        principal: this.#principal,
        name: this.name,
        contract: this.#contract,
        target: { nodeId },
      });
      this.#kernel.publishers.add(this);
    } catch (error) {
      this.#fail(error as Error);
      await this.#carrier.ended;
      throw error;
    }
  }

  #over(): SplitplaneError {
    return new SplitplaneError('CLOSED', `The service at ${this.uri} has ended.`);
  }

  get #principal(): string {
    return `service:${this.name}`;
  }

  #beginning(): Beginning {
    const { nodeId, address } = this.#door;
    const { name, module, builtin, contract, queueMax, timeoutMs } = this.#entry;
    const { prefix, authorities } = this.#kernel.uris;
    return {
      runtime: { nodeId, address, prefix, authorities },
      network: this.#kernel.binding,
      service: { name, module, builtin, contract, partners: this.partners, queueMax, timeoutMs },
    };
  }

  #told(message: FromChild): void {
    switch (message.kind) {
      case 'connecting':
        this.#door.expect(message.nodeId, this.#principal, (connection) => {
          this.#arrived(connection);
        });
        this.#carrier.send({ kind: 'expected' });
        break;
      case 'ready':
        this.#ready.resolve(message.contract);
        break;
      case 'started':
        if (this.#state === 'starting') this.#state = 'running';
        this.#started.resolve(undefined);
        break;
      case 'failed':
        this.#fail(errorOf(message.failure));
        break;
      case 'replaced':
        if (message.failure === undefined) this.#replacing?.resolve(undefined);
        else this.#replacing?.reject(errorOf(message.failure));
        break;
      case 'drop':
        void this.#owner.drop();
        break;
      case 'facts':
        this.#facts = message.facts;
        break;
      case 'log':
        this.#kernel.log(message.level, this.name, message.text);
        this.#carrier.send({ kind: 'logged', count: 1 });
        break;
      case 'authenticate':
        this.#authenticate(message.ask, message.peer);
        break;
      case 'memory': {
        const fault = this.#kernel.dispatcher.judgeMemory(message.principal, `/${this.name}`);
        this.#carrier.send({ kind: 'memory', ask: message.ask, refused: fault?.reason });
        break;
      }
    }
  }

  #authenticate(ask: number, peer: Peer): void {
    // Bytes lose their class on the way.
    const { buffer, byteOffset, length } = peer.credentials as Uint8Array;
    const credentials = Buffer.from(buffer, byteOffset, length);
    const principal = this.#kernel.security.authenticate({ ...peer, credentials });
    this.#carrier.send({ kind: 'principal', ask, principal });
  }

  /** The connection is up: whatever comes over it is from the service. */
  #arrived(connection: Connection): void {
    this.#connection = connection;
    this.#leave = this.#door.network.adopt(connection, `/${this.name}`);
    let open = false;
    const shut = (): void => {
      if (open) this.#door.leave();
      open = false;
    };
    // It will want to come back, when a thread that was busy for long finds time for its connection.
    connection.on('interrupted', () => {
      if (!open) this.#door.open().catch(() => undefined);
      open = true;
    });
    connection.on('resumed', shut);
    connection.on('close', (why) => {
      shut();
      const says = `It did not attend to its connection for too long: ${why.message}`;
      this.#fail(new SplitplaneError('CONNECTION_LOST', says));
    });
    this.#connected.resolve(connection);
  }

  /** Ends everything of it, unless it has ended. */
  #fail(error: Error): void {
    if (this.#state === 'stopped' || this.#state === 'failed') return;
    const wasRunning = this.#state === 'running';
    this.#state = 'failed';
    this.#problem = messageOf(error);
    this.#unregister();
    this.#release(
      new SplitplaneError('CONNECTION_LOST', `The service at ${this.uri} has failed: ${this.#problem}`),
    );
    this.#carrier.kill();
    for (const waiting of [this.#connected, this.#ready, this.#started, this.#replacing])
      waiting?.reject(error);
    if (wasRunning) this.#owner.failed(error);
  }

  #unregister(): void {
    if (this.#registration !== undefined) this.#kernel.uris.remove(this.#registration.uri);
    this.#kernel.publishers.delete(this);
  }

  #release(why: SplitplaneError): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#leave?.();
    this.#kernel.gone(nodePrefix(connection.peer.nodeId));
    connection.destroy(why);
  }
}

function awaited<T>(): Awaited<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((...settle) => {
    [resolve, reject] = settle;
  });
  return { promise, resolve, reject };
}
