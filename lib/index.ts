// What users import. Everything else is internal.
import type { ListeningAddress } from './network/listening.js';
import { NetworkManager, type ConnectOptions, type ListenOptions } from './network/manager.js';
import type { Connection } from './network/connection.js';
import type { NetworkManagerOptions } from './network/options.js';

export * from './errors.js';
export {
  Exposure,
  type Access,
  type Audience,
  type ExposeOptions,
  type ExposureEnd,
} from './dataplane/exposure.js';
export {
  RegisteredBuffer,
  type BufferSlice,
  type BufferSlices,
  type ReleaseOptions,
} from './dataplane/memory.js';
export {
  crc32c,
  type PassedOver,
  type PollMode,
  type TransportFact,
  type TransportFacts,
} from './dataplane/native.js';
export type { OperationOptions } from './dataplane/operations.js';
export {
  RemoteBuffer,
  type ByteRange,
  type ResolveIntoOptions,
  type ResolveOptions,
  type TransferOptions,
  type WriteOptions,
} from './dataplane/remote.js';
export { DEFAULT_PORT } from './network/address.js';
export {
  Connection,
  type ConnectionEvents,
  type ConnectionFacts,
  type ConnectionState,
  type Resumption,
  type SendOptions,
  type Sent,
  type ShareOptions,
} from './network/connection.js';
export type { ListeningAddress } from './network/listening.js';
export {
  NetworkManager,
  type ConnectOptions,
  type ListenOptions,
  type NetworkManagerEvents,
} from './network/manager.js';
export { Batch, type PackedMessages } from './network/batch.js';
export { Message } from './network/message.js';
export type { NetworkManagerOptions } from './network/options.js';
export {
  BATCH_ACTION,
  type Access as Authorization,
  type Authenticate,
  type Authorize,
  type Peer,
} from './network/security.js';
export type { Attachable, Attachment } from './network/separator.js';
export { FastInfosetSerializer } from './serializer/fastinfoset.js';
export { SerializerRegistry, type Serializer } from './serializer/registry.js';
export { XmlSerializer } from './serializer/xml.js';
export { Envelope, type EnvelopeInit, type ReplyInit } from './soap/envelope.js';
export { SoapFault, type DsspSubcode, type FaultCode, type SoapFaultInit } from './soap/fault.js';
export { attribute, element, XmlElement } from './soap/infoset.js';
export { include, type Reference } from './soap/references.js';

/** A network manager that listens at `address`. Rejects as NetworkManager.listen does. */
export async function listen(
  address: string,
  options: NetworkManagerOptions & ListenOptions = {},
): Promise<NetworkManager & Omit<ListeningAddress, 'close'>> {
  const manager = new NetworkManager(options);
  try {
    const listening = await manager.listen(address, options);
    const { addresses, passedOver } = listening;
    return Object.assign(manager, { address: listening.address, addresses, passedOver });
  } catch (error) {
    manager.destroy();
    throw error;
  }
}

/** A connection with a network manager of its own, which closes with it. Rejects as NetworkManager.connect does. */
export async function connect(
  address: string,
  options: NetworkManagerOptions & ConnectOptions = {},
): Promise<Connection & { readonly manager: NetworkManager }> {
  const manager = new NetworkManager(options);
  try {
    const connection = await manager.connect(address, options);
    connection.once('close', () => {
      manager.destroy();
    });
    return Object.assign(connection, { manager });
  } catch (error) {
    manager.destroy();
    throw error;
  }
}
