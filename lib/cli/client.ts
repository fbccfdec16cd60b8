// A connection to a serving process, as a runtime that only dials: connects, gives out proxies of the services there, and turns faults
// into failures. Knows nothing of what is asked.
import type { NetworkManager } from '../network/manager.js';
import type { Connection } from '../network/connection.js';
import { failureOfFault } from '../runtime/failure.js';
import { printableLine } from '../runtime/printable.js';
import { Runtime, type Proxy } from '../runtime/index.js';
import type { AnyContract } from '../runtime/contract.js';
import type { Tuning } from '../runtime/kernel.js';
import { emptyPolicy } from '../runtime/policy.js';
import { nodePrefix } from '../runtime/uri.js';
import { FaultError } from '../soap/fault.js';
import { sayGoodbye, tellOfConnection } from './link.js';
import type { ConnectingOptions } from './options.js';

export class Client implements Disposable {
  readonly runtime: Runtime;
  readonly manager: NetworkManager;
  readonly connection: Connection;

  constructor(runtime: Runtime, manager: NetworkManager, connection: Connection) {
    this.runtime = runtime;
    this.manager = manager;
    this.connection = connection;
  }

  /** Settles when the peer has let us in. Rejects as NetworkManager.connect does. */
  static async connect(
    address: string,
    options: Pick<ConnectingOptions, 'poll' | 'transport' | 'allowInsecure'>,
    signal?: AbortSignal,
  ): Promise<Client> {
    const client = await Client.dial(address, options, {}, signal);
    tellOfConnection(client.manager, client.connection);
    return client;
  }

  /** The same, quietly. */
  static async dial(
    address: string,
    { poll, transport, allowInsecure }: Pick<ConnectingOptions, 'poll' | 'transport' | 'allowInsecure'>,
    tuning: Tuning,
    signal?: AbortSignal,
  ): Promise<Client> {
    const transports = transport === undefined ? undefined : [transport];
    const runtime = await Runtime.start(
      {
        name: 'splitplane',
        // Nobody at the other end has anything to ask here.
        security: { off: false, policy: emptyPolicy('splitplane') },
        network: { listen: [], allowInsecure, transports, poll },
      },
      { tuning },
    );
    const manager = runtime.network as NetworkManager;
    try {
      return new Client(runtime, manager, await manager.connect(address, { allowInsecure, signal }));
    } catch (error) {
      manager.destroy();
      await runtime.close();
      throw error;
    }
  }

  /** The peer, as people should see it. */
  get peerName(): string {
    const { identity, remoteAddress } = this.connection.peer;
    return `${remoteAddress} (${printableLine(identity)})`;
  }

  /** Where the service of this name is: at the other end of this very connection. */
  readonly uriOf = (name: string): string => nodePrefix(this.connection.peer.nodeId) + name;

  proxy<C extends AnyContract>(contract: C, name: string): Proxy<C> {
    return this.runtime.proxy(contract, this.uriOf(name));
  }

  /** Says goodbye, so that the peer need not find out; but does not wait long for one that does not hear it. */
  async close(): Promise<void> {
    await sayGoodbye(this.runtime.close());
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.manager.destroy();
    void this.runtime.close();
  }
}

/** What a request settles with. A fault rejects as the failure that it tells of. */
export async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw error instanceof FaultError ? failureOfFault(error.fault) : error;
  }
}
