// A connection to a serving process: connects, asks, and turns faults into failures. Knows nothing of what is asked.
import { setTimeout as delay } from 'node:timers/promises';
import type { PassedOver } from '../dataplane/native.js';
import { NetworkManager } from '../network/manager.js';
import type { Connection, SendOptions } from '../network/connection.js';
import type { Message } from '../network/message.js';
import type { Envelope } from '../soap/envelope.js';
import { failureOfFault, printable } from '../runtime/failure.js';
import type { ConnectingOptions } from './options.js';
import { note } from './terminal.js';
import { Fields, request, type Action, type Attributes } from './wire.js';

/** How long the end of a connection may take. */
const GOODBYE_MS = 1000;

export class Client implements Disposable {
  readonly manager: NetworkManager;
  readonly connection: Connection;

  constructor(manager: NetworkManager, connection: Connection) {
    this.manager = manager;
    this.connection = connection;
  }

  /** Settles when the peer has let us in. Rejects as NetworkManager.connect does. */
  static async connect(
    address: string,
    { poll, transport, allowInsecure }: Pick<ConnectingOptions, 'poll' | 'transport' | 'allowInsecure'>,
    signal?: AbortSignal,
  ): Promise<Client> {
    const transports = transport === undefined ? undefined : [transport];
    const manager = new NetworkManager({ poll, transports, identity: 'splitplane' });
    try {
      const connection = await manager.connect(address, { allowInsecure, signal });
      tellPassedOver(manager, connection.facts.passedOver);
      connection.on('interrupted', ({ code }) => {
        note(`The connection was lost (${code}); waiting for it to come back.`);
      });
      connection.on('resumed', ({ transport, previous, passedOver }) => {
        note(`The connection is back${transport === previous ? '' : `, over ${transport}`}.`);
        if (transport !== previous) tellPassedOver(manager, passedOver);
      });
      return new Client(manager, connection);
    } catch (error) {
      manager.destroy();
      throw error;
    }
  }

  /** The peer, as people should see it. */
  get peerName(): string {
    const { identity, remoteAddress } = this.connection.peer;
    return `${remoteAddress} (${printable(identity)})`;
  }

  /** Asks, and settles with the answer, which the caller releases. A fault rejects as the failure it tells of. */
  async request(envelope: Envelope, options: SendOptions = {}): Promise<Message> {
    const reply = await this.connection.request(envelope, options);
    try {
      const { fault } = reply;
      if (fault === undefined) return reply;
      throw failureOfFault(fault);
    } catch (error) {
      reply.release();
      throw error;
    }
  }

  /** The same for what needs no buffers. */
  async call(action: Action, attributes: Attributes = {}, options: SendOptions = {}): Promise<Message> {
    return await this.request(request(action, attributes), options);
  }

  /** Asks for something that is only facts. */
  async ask(action: Action, attributes: Attributes = {}, options: SendOptions = {}): Promise<Fields> {
    using reply = await this.call(action, attributes, options);
    return this.fields(reply, action);
  }

  /** What the answer to an action says. */
  fields(reply: Message, action: Action): Fields {
    return Fields.of(reply.envelope, `${action}Response`);
  }

  /** Tells without an answer. Settles when the peer has accepted the message. */
  async tell(action: Action, attributes: Attributes = {}): Promise<void> {
    await this.connection.send(request(action, attributes));
  }

  /** Says goodbye, so that the peer need not find out; but does not wait long for one that does not hear it. */
  async close(): Promise<void> {
    const waited = new AbortController();
    const late = delay(GOODBYE_MS, undefined, { signal: waited.signal }).catch(() => undefined);
    await Promise.race([this.manager.close(), late]);
    waited.abort();
    this.manager.destroy();
  }

  [Symbol.dispose](): void {
    this.manager.destroy();
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
