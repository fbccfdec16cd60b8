// Loads the addon and says what it is made of. The only file that knows where the binary lies. What is declared here
// mirrors native/addon/engine_object.h and hot_calls.cc; only lib/dataplane calls it.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ERROR_CODES, SplitplaneError, type ErrorCode } from '../errors.js';

/** Numbers of the poll modes, as in native/addon/poll_policy.h. */
export const POLL_MODES = { event: 0, adaptive: 1, busy: 2 } as const;
/**
 * How the engine waits for the network. `event` sleeps until woken; `adaptive` polls for a moment first where measuring
 * shows that this is faster; `busy` never sleeps and takes a whole processor.
 */
export type PollMode = keyof typeof POLL_MODES;

export interface NativeOptions {
  readonly nodeId: Uint8Array;
  readonly identity: string;
  readonly credentials: Uint8Array;
  readonly encodings: readonly string[];
  readonly memoryBytesMax: number;
  readonly tagsMax: number;
  readonly connectionsMax: number;
  readonly messageBytesMax: number;
  readonly windowMessages: number;
  readonly windowBytes: number;
  readonly keepaliveMs: number;
  readonly peerTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly resumeMs: number;
  readonly poll: number;
}

/** The addresses of a connection. */
export interface EndpointFacts {
  readonly localAddress: string;
  readonly remoteAddress: string;
  /** Loopback or a unix socket: the peer is on this host. */
  readonly localOnly: boolean;
  /** User id of the process at the other end of a unix socket. */
  readonly uid?: number;
}

export interface NativeHello extends EndpointFacts {
  readonly dialed: boolean;
  readonly listener: number;
  readonly nodeId: Buffer;
  readonly identity: string;
  readonly credentials: Buffer;
  readonly encoding: string;
  readonly transport: string;
}

/** A transport that is better than those in use, and why it is not used. */
export interface PassedOver {
  readonly transport: string;
  readonly code: ErrorCode;
  readonly reason: string;
}

/** Facts and counters of a connection. */
export interface SessionFacts extends EndpointFacts {
  /** The transport that carries it, or carried it last. */
  readonly transport: string;
  /** Best first. Known to the side that connected; empty on the other. */
  readonly passedOver: readonly PassedOver[];
  readonly nodeId: Buffer;
  readonly identity: string;
  readonly principal: string;
  readonly encoding: string;
  /** How often the connection was lost and came back. */
  readonly resumed: number;
  /** How often of those over another transport. */
  readonly failedOver: number;
  readonly messagesSent: number;
  readonly messagesReceived: number;
  /** Messages that came a second time after an interruption and were dropped. */
  readonly messagesRepeated: number;
  readonly messagesQueued: number;
  readonly messagesUnacknowledged: number;
  readonly operationsOutstanding: number;
  /** Bytes of the longest message, or batch, that both sides take. */
  readonly messageBytesMax: number;
}

export interface TransportCapabilities {
  readonly remoteRead: boolean;
  readonly remoteWrite: boolean;
  readonly writeNotification: boolean;
  readonly remoteAtomics: boolean;
  /** Bytes in the longest frame. */
  readonly frameBytesMax: number;
  /** Reads, writes and atomics in flight at once on a connection; more wait their turn. */
  readonly operationsMax: number;
}

/** A transport that this build knows, and whether it works here. */
export interface TransportFacts {
  readonly name: string;
  readonly available: boolean;
  /** Why it is not available. */
  readonly reason?: string;
  readonly capabilities?: TransportCapabilities;
  /** What it found here, for people: devices and their ports, limits. */
  readonly facts: readonly TransportFact[];
}

/** One line for people. */
export interface TransportFact {
  readonly name: string;
  readonly text: string;
}

/** Counters of a transport since the manager began. */
export interface TransportCounters {
  /** Bytes of reads and writes, not of messages. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Of those, bytes that this process copied in user space. */
  readonly bytesCopied: number;
  readonly framesSent: number;
  readonly framesReceived: number;
  readonly operationsServed: number;
  readonly operationsRefused: number;
  /** Memory registered with a device, how often; `holds.memoryRegions` is how much of it still is. */
  readonly registrations: number;
  /** What it holds of the host's at this moment beyond memory and descriptors, by name: queuePairs, memoryRegions, … */
  readonly holds: Readonly<Record<string, number>>;
}

/** Registered memory. */
export interface MemoryCounters {
  readonly slabs: number;
  readonly slabBytes: number;
  readonly buffers: number;
  readonly bufferBytes: number;
  readonly allocations: number;
}

/** Tags exported, and uses refused by reason. */
export interface TagCounters {
  readonly live: number;
  readonly exported: number;
  readonly refusedUnknown: number;
  readonly refusedForeign: number;
  readonly refusedExpired: number;
  readonly refusedExhausted: number;
  readonly refusedDirection: number;
  readonly refusedBounds: number;
}

export interface NativeStats {
  readonly memory: MemoryCounters;
  readonly tags: TagCounters;
  readonly transports: Readonly<Record<string, TransportCounters>>;
}

export interface NativeMemory {
  readonly events: ArrayBuffer;
  readonly receive: ArrayBuffer;
  readonly send: ArrayBuffer;
  readonly call: ArrayBuffer;
}

export interface NativeEngine {
  regionBuffer(region: number, longest: number): ArrayBuffer;
  registerUser(view: Uint8Array): number;
  registerFile(fd: number, offset: number, length: number): number;
  listen(transport: string, address: string, connectionsMax: number, trustedPeers: boolean): number;
  listenerAddress(listener: number): string;
  closeListener(listener: number): void;
  connect(
    transports: readonly string[],
    address: string,
    dataChannels: number,
    expectedNodeId: Uint8Array,
    trustedPeer: boolean,
  ): number;
  accept(session: number, principal: string): void;
  reject(session: number, code: number, sentence: string): void;
  closeSession(session: number): void;
  destroySession(session: number, code: number, sentence: string): void;
  session(session: number): SessionFacts | undefined;
  detail(index: number): NativeHello | Error;
  transports(): TransportFacts[];
  stats(): NativeStats;
  setReferenced(referenced: boolean): void;
  shutdown(): void;

  allocate(bytes: number, session: number): number;
  view(session: number, offset: number, length: number): number;
  release(handle: number, unlessBusy: number): number;
  holders(handle: number): number;
  exportTag(
    access: number,
    audience: number,
    session: number,
    uses: number,
    expiresInMs: number,
    cookie: number,
    slices: number,
    principal?: string,
  ): void;
  revokeTag(): void;
  releaseTags(session: number, count: number): void;
  send(session: number, envelopeBytes: number, attachments: number, deadlineMs: number): number;
  sendBatch(session: number, count: number, contentBytes: number): number;
  cancelMessage(session: number, message: number): number;
  consume(session: number, messages: number, bytes: number): void;
  read(session: number, offset: number, slices: number, checksum: number): number;
  write(session: number, offset: number, slices: number, checksum: number, notify: number): number;
  atomic(session: number, offset: number, kind: number): number;
  cancelOperation(operation: number): void;
}

interface Addon {
  readonly Engine: new (
    options: NativeOptions,
    memory: NativeMemory,
    deliver: (count: number) => void,
  ) => NativeEngine;
  readonly errorCodes: readonly string[];
  /** Names of the transports of this build, best first, whether or not they work here. */
  readonly transports: readonly string[];
  readonly crc32cImplementation: string;
  crc32c(bytes: Uint8Array, crc: number): number;
}

function load(): Addon {
  const require = createRequire(import.meta.url);
  const named = process.env.SPLITPLANE_ADDON;
  if (named !== undefined) return require(named) as Addon;
  // This file lies in lib/dataplane or, compiled, in dist/lib/dataplane: the package's root is where binding.gyp is.
  let root = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(root, 'binding.gyp'))) {
    const above = dirname(root);
    if (above === root) break;
    root = above;
  }
  try {
    return (require('node-gyp-build') as (root: string) => Addon)(root);
  } catch (cause) {
    throw new SplitplaneError(
      'TRANSPORT_UNAVAILABLE',
      'The native addon of splitplane is missing for this platform. Build it with `npm run build:native`.',
      { cause },
    );
  }
}

/** The loaded addon. */
export const addon = load();

const KNOWN = new Set<string>(ERROR_CODES);

/** The code with this index in the native list. */
export function codeFromIndex(index: number): ErrorCode {
  const code = addon.errorCodes[index];
  return code !== undefined && KNOWN.has(code) ? (code as ErrorCode) : 'SYSTEM';
}

/** The index of a code in the native list, SYSTEM's for codes that TypeScript alone raises. */
export function indexOfCode(code: ErrorCode): number {
  const index = addon.errorCodes.indexOf(code);
  return index >= 0 ? index : addon.errorCodes.indexOf('SYSTEM');
}

/** What the addon threw or told, as the error that users match on. */
export function fromNative(error: unknown): unknown {
  if (error instanceof SplitplaneError || !(error instanceof Error) || !('code' in error)) return error;
  const { code } = error;
  if (typeof code !== 'string' || !KNOWN.has(code)) return error;
  return new SplitplaneError(code as ErrorCode, error.message, { cause: error });
}

/** Runs a call into the addon, with its errors as SplitplaneErrors. */
export function native<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fromNative(error);
  }
}

/** CRC32C of bytes, continuing `crc` (0 to begin). RFC 3720, appendix B.4. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  return addon.crc32c(bytes, crc);
}
