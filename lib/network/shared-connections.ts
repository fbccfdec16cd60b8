// Connections that messages share: found by the host in their wsa:To, made for the first one that wants to go there.
import { watch } from '../dataplane/operations.js';
import { SplitplaneError } from '../errors.js';
import { parseAddress } from './address.js';
import type { Connection } from './connection.js';
import type { ConnectOptions } from './manager.js';

interface Shared {
  readonly connecting: Promise<Connection>;
  connection: Connection | undefined;
}

export class SharedConnections {
  readonly #byAddress = new Map<string, Shared>();
  readonly #connect: (address: string, options: ConnectOptions) => Promise<Connection>;

  constructor(connect: (address: string, options: ConnectOptions) => Promise<Connection>) {
    this.#connect = connect;
  }

  /** NetworkManager.connectionTo. */
  async connectionTo(to: string, options: ConnectOptions): Promise<Connection> {
    if (!/^[a-z]+:\/\//.test(to) || /^https?:/.test(to)) {
      throw new SplitplaneError(
        'ADDRESS_INVALID',
        `wsa:To is ${to}, which names no host. Write dos://HOST:PORT/NAME, or send on a connection.`,
      );
    }
    const parsed = parseAddress(to);
    const key = `${parsed.transport} ${parsed.host} ${parsed.port}`;
    const shared = this.#byAddress.get(key) ?? this.#open(key, to, options);
    const connection = shared.connection ?? (await opened(shared, options));
    const { nodeId } = connection.peer;
    if (nodeId === (options.expectedNodeId ?? nodeId)) return connection;
    throw new SplitplaneError(
      'IDENTITY_MISMATCH',
      `The connection to ${to} leads to node ${nodeId}, and ${options.expectedNodeId} was expected. Nothing was sent.`,
    );
  }

  #open(key: string, to: string, options: ConnectOptions): Shared {
    const connecting = this.#connect(to, { ...options, signal: undefined, deadlineMs: undefined });
    const shared: Shared = { connecting, connection: undefined };
    this.#byAddress.set(key, shared);
    const forget = (): boolean => this.#byAddress.delete(key);
    connecting.then((connection) => {
      shared.connection = connection;
      return connection.closed.then(forget);
    }, forget);
    return shared;
  }
}

/** Others wait for the same connection: it is not theirs to lose when this caller gives up. */
function opened({ connecting }: Shared, options: ConnectOptions): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const stopWatching = watch(options, reject);
    void connecting.then(resolve, reject).finally(stopWatching);
  });
}
