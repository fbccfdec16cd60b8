// Who may connect and who may do what: the two hooks and their defaults. Plaintext between hosts is refused unless it is
// asked for, because nothing protects it until there is TLS.
import { SplitplaneError } from '../errors.js';
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

/** What is about to happen between this node and a principal. */
export interface Access {
  readonly principal: string;
  /** wsa:Action of the message. */
  readonly action: string;
  /** wsa:To of the message. */
  readonly to: string;
  readonly direction: 'send' | 'receive';
  /** Bytes of the buffers the message refers to. */
  readonly bytes: number;
}

/**
 * Answers the principal that a peer is, or refuses it by throwing or by answering undefined. Runs on both sides, before
 * any memory is registered for the peer.
 */
export type Authenticate = (peer: Peer) => Promise<string | undefined> | string | undefined;

/**
 * Whether a message may be sent or received. Runs before a tag is made for the peer or one of its tags can be resolved.
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
