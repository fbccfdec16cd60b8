// The one list of error codes of the project and the error class that carries them. Everything that can go wrong on
// this side ends in a SplitplaneError, whose `code` users match on and whose message says what to do. A SOAP fault from
// a peer is a value (lib/soap/fault.ts), not one of these. Knows nothing of who throws.

/**
 * Every code, each with what the user should do. The names of native/base/status.h and these are the same, in the same
 * order; codes that only TypeScript raises stand at the end.
 */
export const ERROR_CODES = [
  'INVALID_ARGUMENT', // Fix the call: the message names the argument and what it must be.
  'OUT_OF_MEMORY', // Release buffers, or give the process more memory; nothing was transferred.
  'QUOTA_EXCEEDED', // Release what this peer holds, or raise its quota on the side that refused.
  'LIMIT_EXCEEDED', // Send less at once, or raise the limit that the message names.
  'REGION_BUSY', // Wait for the operation on this memory to end, or abort it, then try again.
  'REGION_RELEASED', // Do not use a buffer after release(); allocate another.
  'REGION_DETACHED', // Do not transfer or detach a registered buffer; allocate another.
  'TAG_UNKNOWN', // Ask the sender for the message again: its owner does not know this tag (any more).
  'TAG_EXPIRED', // Ask the sender for a new tag, and resolve it sooner or ask for a longer expiry.
  'TAG_EXHAUSTED', // The tag was used as often as its owner allowed; ask for one with more uses.
  'TAG_DIRECTION', // The tag allows reading or writing, and the other was tried; ask for the right one.
  'TAG_BOUNDS', // Stay inside the length that the reference states.
  'TAG_REVOKED', // The owner took the tag back; ask whether the transfer is still wanted.
  'CHECKSUM_MISMATCH', // Bytes changed on the way and were not delivered; send again, and suspect the network.
  'PROTOCOL_VIOLATION', // The peer does not speak the wire protocol rightly; report it to the peer's operator.
  'VERSION_UNSUPPORTED', // Update the older side: no protocol version is common to both.
  'ENCODING_UNSUPPORTED', // Configure an encoding on one side that the other has.
  'IDENTITY_MISMATCH', // Another process answers at this address; check the address and who listens there.
  'AUTHENTICATION_FAILED', // Give credentials that the peer accepts.
  'PERMISSION_DENIED', // Ask the peer's operator for the right to this action.
  'INSECURE_TRANSPORT', // Stay on loopback or a unix socket, or allow plaintext explicitly.
  'ADDRESS_INVALID', // Write the address as the message shows.
  'ADDRESS_IN_USE', // Stop what listens there, or listen on another port.
  'CONNECTION_REFUSED', // Start the peer, or correct the address.
  'CONNECT_TIMEOUT', // Check the network and firewalls on the way to the peer.
  'CONNECTION_LOST', // Send again with the same MessageID; the connection comes back by itself when it can.
  'PEER_UNRESPONSIVE', // The peer stopped answering; look at its process, then send again.
  'SESSION_EXPIRED', // The session has ended and its tags with it; connect anew.
  'ABORTED', // Nothing: the caller's AbortSignal asked for this.
  'DEADLINE_EXCEEDED', // Allow more time, or find out what is slow; nothing partial was delivered.
  'CLOSED', // Open another connection: this one was closed on this side.
  'FILE_CHANGED', // Start the transfer of this file again: it changed while it was being sent.
  'TRANSPORT_UNAVAILABLE', // Use another transport, or provide what the message says is missing.
  'UNSUPPORTED', // This transport or peer cannot do it; the message names one that can.
  'SYSTEM', // Act on the operating system's error in the message.
  'MESSAGE_INVALID', // Correct the sender: what arrived is not a SOAP message that this side accepts.
  'MANIFEST_INVALID', // Correct the manifest where the message says: FILE:LINE:COLUMN.
  'POLICY_INVALID', // Correct the policy where the message says: FILE:LINE:COLUMN.
  'FAULT', // The peer answered with a SOAP fault; read `fault` and act on its subcode.
] as const;

/** What went wrong, for programs. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** An operation of this side that failed. Match on `code`; `message` says what to do; `cause` is what lies beneath. */
export class SplitplaneError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}
