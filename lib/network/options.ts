// The options of a network manager, their defaults and limits. The one place that completes and checks them.
import { hostname } from 'node:os';
import { SplitplaneError } from '../errors.js';
import { addon, POLL_MODES, type PollMode } from '../dataplane/native.js';
import { fastInfosetSerializer } from '../serializer/fastinfoset.js';
import type { Serializer } from '../serializer/registry.js';
import { xmlSerializer } from '../serializer/xml.js';
import type { QName } from '../soap/infoset.js';
import { authenticateByLocation, type Authenticate, type Authorize } from './security.js';
import { checkTransports } from './transports.js';

export interface NetworkManagerOptions {
  /** The name that peers are told, at most 255 bytes; the host's and this process's when left out. */
  readonly identity?: string | undefined;
  /** Handed to the peer's authenticate hook, at most 4096 bytes. */
  readonly credentials?: Uint8Array | undefined;
  /** Who may connect; when left out, whoever can reach the address. */
  readonly authenticate?: Authenticate | undefined;
  /** Who may send and receive what; when left out, every peer that was let in. */
  readonly authorize?: Authorize | undefined;
  /** Encodings of envelopes, most preferred first; Fast Infoset and text XML when left out. */
  readonly serializers?: readonly Serializer[] | undefined;
  /**
   * Whether the services here understand a header block that its sender declared mandatory (SOAP 1.2 part 1, section
   * 5.2.3); a message with one that is not understood is refused with a fault. None is when left out.
   */
  readonly understands?: ((block: QName) => boolean) | undefined;
  /**
   * The transports that may be used, most preferred first: of several that reach a peer the first is taken, and one that is not
   * named never is. All that `info` lists when left out.
   */
  readonly transports?: readonly string[] | undefined;
  /** How to wait for the network; `event` when left out. */
  readonly poll?: PollMode | undefined;
  /** Buffers up to this many bytes travel inside the control frame instead of by reference; 4096 when left out. */
  readonly inlineBytesMax?: number | undefined;
  /** Bytes of registered memory that allocate() gives out at once; 16 GiB when left out. */
  readonly memoryBytesMax?: number | undefined;
  /** Bytes of an envelope with its inline payloads, sent or received; 1 MiB when left out. */
  readonly messageBytesMax?: number | undefined;
  /** Messages and bytes that a peer may have sent and nobody has taken yet; 1024 and 8 MiB when left out. */
  readonly windowMessages?: number | undefined;
  readonly windowBytes?: number | undefined;
  /** Tags exported at once; 1,000,000 when left out. */
  readonly tagsMax?: number | undefined;
  /** Connections at once; 10,000 when left out. */
  readonly connectionsMax?: number | undefined;
  /** Milliseconds of silence after which a peer is asked whether it lives; 5000 when left out. */
  readonly keepaliveMs?: number | undefined;
  /** Milliseconds of silence after which a link counts as lost; 15,000 when left out. */
  readonly peerTimeoutMs?: number | undefined;
  /** Milliseconds that connecting and greeting may take; 10,000 when left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** Milliseconds that an interrupted connection is kept for its peer to come back; 0: not at all; 30,000 when left out. */
  readonly resumeMs?: number | undefined;
}

/** Without `authorize` everything is permitted, and nothing has to be known of a message to say so. */
export type CompleteOptions = {
  readonly [K in Exclude<keyof NetworkManagerOptions, 'authorize'>]-?: NonNullable<NetworkManagerOptions[K]>;
} & { readonly authorize: Authorize | undefined };

const IDENTITY_BYTES_MAX = 255;
const CREDENTIALS_BYTES_MAX = 4096;
const INLINE_BYTES_DEFAULT = 4096;
/** Below this no envelope with addressing fits. */
const MESSAGE_BYTES_MIN = 4096;
const MESSAGE_BYTES_LIMIT = 64 << 20;
const U32_MAX = 0xffff_ffff;

export function completeOptions(options: NetworkManagerOptions): CompleteOptions {
  const messageBytesMax = number(options, 'messageBytesMax', 1 << 20, MESSAGE_BYTES_MIN, MESSAGE_BYTES_LIMIT);
  const peerTimeoutMs = number(options, 'peerTimeoutMs', 15_000, 1, U32_MAX);
  const inlineBytesLimit = Math.floor(messageBytesMax / 2);
  const inlineBytesDefault = Math.min(INLINE_BYTES_DEFAULT, inlineBytesLimit);
  const identity = options.identity ?? `${hostname()}/${process.pid}`;
  const credentials = options.credentials ?? new Uint8Array(0);
  const serializers = options.serializers ?? [fastInfosetSerializer, xmlSerializer];
  const poll = options.poll ?? 'event';
  check(
    Buffer.byteLength(identity) <= IDENTITY_BYTES_MAX,
    `identity has at most ${IDENTITY_BYTES_MAX} bytes.`,
  );
  check(
    credentials.length <= CREDENTIALS_BYTES_MAX,
    `credentials have at most ${CREDENTIALS_BYTES_MAX} bytes, not ${credentials.length}.`,
  );
  check(serializers.length > 0, 'serializers names one encoding or more. Leave it out for the usual ones.');
  check(
    Object.hasOwn(POLL_MODES, poll),
    `poll is one of ${Object.keys(POLL_MODES).join(', ')}, not ${poll}.`,
  );
  return {
    identity,
    credentials,
    authenticate: options.authenticate ?? authenticateByLocation,
    authorize: options.authorize,
    understands: options.understands ?? (() => false),
    serializers,
    transports: checkTransports(options.transports ?? addon.transports, addon.transports),
    poll,
    inlineBytesMax: number(options, 'inlineBytesMax', inlineBytesDefault, 0, inlineBytesLimit),
    memoryBytesMax: number(options, 'memoryBytesMax', 16 * 2 ** 30, 1, Number.MAX_SAFE_INTEGER),
    messageBytesMax,
    windowMessages: number(options, 'windowMessages', 1024, 1, 1 << 20),
    windowBytes: number(options, 'windowBytes', Math.max(8 << 20, messageBytesMax), messageBytesMax, U32_MAX),
    tagsMax: number(options, 'tagsMax', 1_000_000, 1, 1 << 28),
    connectionsMax: number(options, 'connectionsMax', 10_000, 1, 1 << 20),
    keepaliveMs: number(options, 'keepaliveMs', Math.min(5000, peerTimeoutMs), 1, peerTimeoutMs),
    peerTimeoutMs,
    connectTimeoutMs: number(options, 'connectTimeoutMs', 10_000, 1, U32_MAX),
    resumeMs: number(options, 'resumeMs', 30_000, 0, U32_MAX),
  };
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new SplitplaneError('INVALID_ARGUMENT', otherwise);
}

type NumberOption = {
  [K in keyof NetworkManagerOptions]-?: NonNullable<NetworkManagerOptions[K]> extends number ? K : never;
}[keyof NetworkManagerOptions];

function number(
  from: NetworkManagerOptions,
  name: NumberOption,
  fallback: number,
  min: number,
  max: number,
): number {
  const value = from[name] ?? fallback;
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    `${name} is a whole number from ${min} to ${max}, not ${value}.`,
  );
}
