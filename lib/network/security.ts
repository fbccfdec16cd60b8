// Who may connect and who may do what: the two hooks and their defaults. Plaintext between hosts is refused unless it is
// asked for, because nothing protects it until there is TLS.
import { SplitplaneError } from '../errors.js';
import { ANONYMOUS } from '../soap/addressing.js';
import type { EndpointFacts } from '../dataplane/native.js';

/** A peer that asks to be let in, or that answered where we connected. What it says of itself is not proven. */
export interface Peer extends EndpointFacts {
  /** Its engine's 16 random bytes, as hex: the same over reconnects. */
  readonly nodeId: string;
  /** The name it gives itself. */
  readonly identity: string;
  /** Opaque bytes for authenticate, at most 4096. */
  readonly credentials: Buffer;
  /** Whether this side connected to it. */
  readonly dialed: boolean;
  readonly transport: string;
}

/** What Access.action is for batches: messages without envelopes name no action. */
export const BATCH_ACTION = 'urn:splitplane:batch:1';

/** What is about to happen between this node and a principal. */
export interface Access {
  readonly principal: string;
  /** wsa:Action of the message; BATCH_ACTION for a batch. */
  readonly action: string;
  /** wsa:To of the message; anonymous for a batch, which is for whoever is at the other end (WS-Addressing 1.0, section 2.1). */
  readonly to: string;
  readonly direction: 'send' | 'receive';
  /** Bytes of the buffers the message refers to; of a batch, of the messages in it. */
  readonly bytes: number;
}

/** What a hook gets to know of a message. */
export type Judged = Pick<Access, 'action' | 'to'>;

export const BATCH: Judged = { action: BATCH_ACTION, to: ANONYMOUS };

/**
 * Answers the principal that a peer is, or refuses it by throwing or by answering undefined. Runs on both sides, before
 * any memory is registered for the peer.
 */
export type Authenticate = (peer: Peer) => Promise<string | undefined> | string | undefined;

/**
 * Whether a message may be sent or received. A batch is judged once and as a whole: where it is sent, all that one
 * sendBatch() was given; where it arrives, each that came over the wire, which a sendBatch() may be several of. Runs before a tag is made for the peer or one of its tags can be resolved.
 * Throwing refuses.
 */
export type Authorize = (access: Access) => Promise<boolean> | boolean;

/** The principal is the user of a unix socket's peer, or just that it is on this host, or nobody known. */
export function authenticateByLocation(peer: Peer): string {
  if (peer.uid !== undefined) return `uid:${peer.uid}`;
  return peer.localOnly ? 'local' : 'anonymous';
}

/** Throws INSECURE_TRANSPORT for an address beyond this host that nobody allowed explicitly. */
export function checkPlaintext(address: string, localOnly: boolean, allowInsecure: boolean): void {
  if (localOnly || allowInsecure) return;
  throw new SplitplaneError(
    'INSECURE_TRANSPORT',
    `${address} is beyond this host, and this version has no TLS: whoever is on the way can read and change everything. ` +
      'Stay on loopback or a unix socket, or pass allowInsecure (--allow-insecure) on both sides in a network you trust.',
  );
}
