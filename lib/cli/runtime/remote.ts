// A runtime somewhere, as `call`, `watch` and `services` see it: the connection to it, its services' URIs, and what they say of
// themselves. This side is a kernel without services: the other one can tell it what was subscribed to, and nothing else.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { SplitplaneError } from '../../errors.js';
import { parseAddress } from '../../network/address.js';
import type { Connection } from '../../network/connection.js';
import type { NetworkManager } from '../../network/manager.js';
import type { Client } from '../../runtime/client.js';
import { Kernel } from '../../runtime/kernel.js';
import { isName } from '../../runtime/names.js';
import { LOOKUP, SERVICE, type ServiceDescription } from '../../runtime/service-contract.js';
import { nodePrefix } from '../../runtime/uri.js';
import type { Serializer } from '../../serializer/registry.js';
import { printableLine } from '../../runtime/printable.js';
import { answerOf, UsageError } from '../failure.js';
import { sayGoodbye, tellOfConnection } from '../link.js';
import { addConnectingOptions, checkAddress, parsePlace, type ConnectingOptions } from '../options.js';
import { note } from '../terminal.js';

/** Options of every command that talks to a runtime. */
export interface RemoteOptions extends ConnectingOptions {
  /** The file whose bytes say who we are. */
  readonly credentials?: string | undefined;
}

/** Adds the options of RemoteOptions. */
export function addRemoteOptions(command: Command, json: string): Command {
  return addConnectingOptions(command, json).option(
    '--credentials <file>',
    'a file whose bytes say who you are, where the policy of the runtime asks for them',
  );
}

/** Where a service is. */
export interface ServicePlace {
  readonly address: string;
  readonly name: string;
}

/** Reads the URI of a service, or a service as the other commands name places. Throws UsageError. */
export function parseServicePlace(text: string): ServicePlace {
  const [, authority, name] = /^(dos:\/\/[^/]+)\/(.*)$/s.exec(text) ?? [];
  const dos = authority === undefined ? undefined : { address: checkAddress(authority), name };
  const place = text.startsWith('dos:') ? dos : otherPlace(text);
  if (place?.name !== undefined && isName(place.name)) return { address: place.address, name: place.name };
  throw new UsageError(
    `${JSON.stringify(text)} names no service. Write dos://HOST:PORT/NAME, rdma://HOST:PORT/NAME or unix:/SOCKET:NAME.`,
  );
}

function otherPlace(text: string): ServicePlace | undefined {
  try {
    const { address, path } = parsePlace(text);
    return { address, name: path };
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

export class Remote implements AsyncDisposable {
  readonly kernel: Kernel;
  readonly network: NetworkManager;
  readonly connection: Connection;
  /** Sends as this command. */
  readonly client: Client;
  readonly #prefix: string;

  private constructor(kernel: Kernel, network: NetworkManager, connection: Connection, prefix: string) {
    this.kernel = kernel;
    this.network = network;
    this.connection = connection;
    this.client = kernel.client({ principal: 'command', owner: undefined });
    this.#prefix = prefix;
  }

  /** Settles when the runtime there has let us in. Rejects as NetworkManager.connect does. */
  static async connect(
    address: string,
    options: RemoteOptions,
    signal: AbortSignal,
    serializers?: readonly Serializer[],
  ): Promise<Remote> {
    const { poll, transport, allowInsecure, credentials } = options;
    const entry = {
      listen: [],
      allowInsecure,
      transports: transport === undefined ? undefined : [transport],
      poll,
      credentials: credentials === undefined ? undefined : resolve(credentials),
    };
    // Nothing is here that could be asked for anything, so there is nothing to secure.
    const security = { off: true } as const;
    const kernel = await Kernel.start({ name: 'splitplane', security, network: entry, serializers }, tell);
    try {
      const { network } = kernel;
      if (network === undefined) throw new SplitplaneError('CLOSED', 'The network was closed.');
      const { transport: scheme, host, port } = parseAddress(address);
      // A host and its port are what URIs can say; of anything else they can say which runtime it is.
      const prefix =
        scheme === 'auto' && host !== undefined
          ? `dos://${host.includes(':') ? `[${host}]` : host}:${port}/`
          : undefined;
      const connectOptions = { allowInsecure, signal };
      const connection = await (prefix === undefined
        ? network.connect(address, connectOptions)
        : network.connectionTo(prefix, connectOptions));
      tellOfConnection(network, connection);
      return new Remote(kernel, network, connection, prefix ?? nodePrefix(connection.peer.nodeId));
    } catch (error) {
      await kernel.close();
      throw error;
    }
  }

  /** The URI of a service there. */
  uriOf(name: string): string {
    return this.#prefix + name;
  }

  /** What a service says that it is. Rejects with FaultAnswer where it is not told. */
  async lookup(uri: string, signal: AbortSignal): Promise<ServiceDescription> {
    return (await answerOf(this.client.call(uri, SERVICE, LOOKUP, {}, { signal }))) as ServiceDescription;
  }

  /** Says goodbye, so that the peer need not find out; but does not wait long for one that does not hear it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await sayGoodbye(this.kernel.close());
    this.network.destroy();
  }
}

function tell(level: string, source: string, text: string): void {
  if (level !== 'info') note(`${source}: ${printableLine(text)}`);
}
