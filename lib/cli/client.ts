// A connection to a serving process, as a runtime that only dials: connects, gives out proxies of the services there, and turns faults
// into failures. Knows nothing of what is asked.
import { setTimeout as delay } from 'node:timers/promises';
import type { PassedOver } from '../dataplane/native.js';
import type { NetworkManager } from '../network/manager.js';
import type { Connection } from '../network/connection.js';
import { failureOfFault, printable } from '../runtime/failure.js';
import { Runtime, type Proxy } from '../runtime/index.js';
import type { AnyContract } from '../runtime/contract.js';
import type { Tuning } from '../runtime/kernel.js';
import { emptyPolicy } from '../runtime/policy.js';
import { nodePrefix } from '../runtime/uri.js';
import { FaultError } from '../soap/fault.js';
import type { ConnectingOptions } from './options.js';
import { note } from './terminal.js';

/** How long the end of a connection may take. */
const GOODBYE_MS = 1000;

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
    const { connection, manager } = client;
    tellPassedOver(manager, connection.facts.passedOver);
    connection.on('interrupted', ({ code }) => {
      note(`The connection was lost (${code}); waiting for it to come back.`);
    });
    connection.on('resumed', ({ transport, previous, passedOver }) => {
      note(`The connection is back${transport === previous ? '' : `, over ${transport}`}.`);
      if (transport !== previous) tellPassedOver(manager, passedOver);
    });
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
    return `${remoteAddress} (${printable(identity)})`;
  }

  /** Where the service of this name is: at the other end of this very connection. */
  readonly uriOf = (name: string): string => nodePrefix(this.connection.peer.nodeId) + name;

  proxy<C extends AnyContract>(contract: C, name: string): Proxy<C> {
    return this.runtime.proxy(contract, this.uriOf(name));
  }

  /** Says goodbye, so that the peer need not find out; but does not wait long for one that does not hear it. */
  async close(): Promise<void> {
    const waited = new AbortController();
    const late = delay(GOODBYE_MS, undefined, { signal: waited.signal }).catch(() => undefined);
    await Promise.race([this.runtime.close(), late]);
    waited.abort();
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

/** A transport that works on this host and not to that peer is worth a line; one that this host lacks is for `info`. */
function tellPassedOver(manager: NetworkManager, passedOver: readonly PassedOver[]): void {
  const { transports } = manager;
  for (const { transport, reason } of passedOver) {
    if (transports.some(({ name, available }) => name === transport && available)) {
      note(`Not over ${transport}: ${printable(reason)}`);
    }
  }
}
