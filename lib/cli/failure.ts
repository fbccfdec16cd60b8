// What can go wrong with a command, as one sentence for people, fields for programs, a fault on the wire and an exit code.
// The one place that maps between them. Knows nothing of what the commands do.
import { ERROR_CODES, SplitplaneError, type ErrorCode } from '../errors.js';
import { FaultError, MessageRefusedError, SoapFault, type DsspSubcode } from '../soap/fault.js';
import { element, type XmlElement } from '../soap/infoset.js';
import { SERVICE } from './wire.js';

/** What the process answers its caller. Printed by `--help`, described in docs/CLI.md. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  noConnection: 3,
  refused: 4,
  partly: 5,
  /** 128 and the number of the signal, as shells have it. */
  interrupted: 130,
  terminated: 143,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_CODES_HELP = `
Exit codes:
  0    it worked
  1    it failed; the sentence on standard error says why and what to do
  2    the command line is wrong
  3    no connection: nobody answers at the address, or the connection was lost
  4    refused: not permitted, not authenticated, outside the root, or plaintext between hosts
  5    some files were transferred and some were not
  130  interrupted (Ctrl-C); 143 when it was ended by SIGTERM`;

/** What a program gets to know of a failure, with --json. */
export interface Problem {
  readonly code: ErrorCode | 'USAGE';
  readonly message: string;
  /** The fault's subcode, when the peer answered with one. */
  readonly subcode?: string;
  /** The operating system's name of its error, at whichever end it occurred. */
  readonly errno?: string;
  readonly path?: string;
}

interface Circumstances {
  readonly errno?: string | undefined;
  readonly path?: string | undefined;
  readonly subcode?: string | undefined;
  readonly cause?: unknown;
}

/** A failure that knows the file and the system's error. The same at the end where it happened and, from a fault, at the other. */
export class Failure extends SplitplaneError {
  readonly errno: string | undefined;
  readonly path: string | undefined;
  readonly subcode: string | undefined;

  constructor(code: ErrorCode, message: string, { errno, path, subcode, cause }: Circumstances = {}) {
    super(code, message, { cause });
    this.errno = errno;
    this.path = path;
    this.subcode = subcode;
  }
}

/** The command line is wrong. */
export class UsageError extends Error {}

const ERRNO_SENTENCES: Readonly<Record<string, string>> = {
  EACCES: 'Permission to it was denied by the file system. Change its mode, or run as a user who may.',
  EDQUOT: 'The disk quota is used up. Free some space, then run the command again.',
  EEXIST: 'It exists already. Choose another name.',
  EISDIR: 'It is a directory. Name a file, or remove the directory first.',
  ELOOP: 'It is a symbolic link, or a loop of them. Name the file itself.',
  EMFILE: 'Too many files are open. Raise the limit (ulimit -n), or transfer fewer at once.',
  ENAMETOOLONG: 'The name is too long for the file system. Choose a shorter one.',
  ENFILE: 'Too many files are open on that machine. Try again later.',
  ENOENT: 'There is no such file or directory. Check the path.',
  ENOSPC: 'The disk is full. Free some space, then run the command again.',
  ENOTDIR: 'A part of the path is no directory. Check the path.',
  ENOTEMPTY: 'It is a directory that is not empty. Remove it first.',
  EPERM: 'The operating system does not permit it. Change its mode, or run as a user who may.',
  EROFS: 'The file system is read-only. Choose another place.',
};

/** The error of a call of node:fs as a failure at `path`. The system's own text is left out: it may show another path. */
export function systemFailure(cause: unknown, path: string): Error {
  if (cause instanceof SplitplaneError || !(cause instanceof Error)) return cause as Error;
  const errno = errnoOf(cause);
  if (errno === undefined) return cause;
  const sentence = ERRNO_SENTENCES[errno] ?? `The operating system answered ${errno}.`;
  return new Failure('SYSTEM', `${path}: ${sentence}`, { errno, path, cause });
}

/** Runs calls of node:fs, with their errors as failures at `path`. */
export async function withPath<T>(path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw systemFailure(error, path);
  }
}

/** ENOENT and its like, from anywhere in the chain of causes. */
export function errnoOf(error: unknown): string | undefined {
  let at = error;
  for (let depth = 0; at instanceof Error && depth < 8; depth++) {
    if (at instanceof Failure && at.errno !== undefined) return at.errno;
    const { code } = at as NodeJS.ErrnoException;
    if (code !== undefined && /^E[A-Z0-9]+$/.test(code)) return code;
    at = at.cause;
  }
  return undefined;
}

/** What a program, or a person, is told. */
export function describe(error: unknown): Problem {
  if (error instanceof UsageError) return { code: 'USAGE', message: error.message };
  const failure = error instanceof FaultError ? failureOfFault(error.fault) : error;
  const message = failure instanceof Error ? failure.message : String(failure);
  const errno = errnoOf(failure);
  const { path, subcode } = failure instanceof Failure ? failure : {};
  return {
    code: failure instanceof SplitplaneError ? failure.code : 'SYSTEM',
    message: message.replace(/\s*\n\s*/g, ' '),
    ...(subcode === undefined ? {} : { subcode }),
    ...(errno === undefined ? {} : { errno }),
    ...(path === undefined ? {} : { path }),
  };
}

const NO_CONNECTION: readonly ErrorCode[] = [
  'ADDRESS_INVALID',
  'CONNECTION_REFUSED',
  'CONNECT_TIMEOUT',
  'CONNECTION_LOST',
  'PEER_UNRESPONSIVE',
  'SESSION_EXPIRED',
  'IDENTITY_MISMATCH',
  'VERSION_UNSUPPORTED',
  'ENCODING_UNSUPPORTED',
  'TRANSPORT_UNAVAILABLE',
];
const REFUSED: readonly ErrorCode[] = ['PERMISSION_DENIED', 'AUTHENTICATION_FAILED', 'INSECURE_TRANSPORT'];

export function exitCodeOf({ code }: Problem): ExitCode {
  if (code === 'USAGE') return EXIT.usage;
  if (NO_CONNECTION.includes(code)) return EXIT.noConnection;
  if (REFUSED.includes(code)) return EXIT.refused;
  return EXIT.failed;
}

function subcodeOf(code: ErrorCode, errno: string | undefined): DsspSubcode {
  if (code === 'PERMISSION_DENIED') return 'PermissionDenied';
  if (code === 'QUOTA_EXCEEDED' || code === 'OUT_OF_MEMORY') return 'InsufficientResources';
  if (code === 'ABORTED') return 'OperationCanceled';
  switch (errno) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'UnknownEntry';
    case 'EEXIST':
      return 'DuplicateEntry';
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return 'PermissionDenied';
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EMFILE':
    case 'ENFILE':
      return 'InsufficientResources';
    default:
      return 'OperationFailed';
  }
}

/** What a peer is told of a failure here: the sentence, and a detail with the code and the system's error. */
export function faultOf(error: unknown): SoapFault {
  if (error instanceof MessageRefusedError) return error.fault;
  const { code, message, errno, path } = describe(error);
  // An error without a code is a mistake of ours; its text may hold anything and stays here.
  const known = error instanceof SplitplaneError && code !== 'USAGE';
  const reason = known ? message : 'The service failed; its log says more.';
  const attributes: Record<string, string> = { code: known ? code : 'SYSTEM' };
  if (errno !== undefined) attributes.errno = errno;
  if (path !== undefined) attributes.path = encodeURI(path);
  const subcode = subcodeOf(known ? code : 'SYSTEM', errno);
  return SoapFault.dssp(subcode, reason, [element(SERVICE, 'Failure', [], { attributes })]);
}

/** The failure that a fault of a peer tells of. What it says is shown, not trusted. */
export function failureOfFault(fault: SoapFault): Failure {
  const detail: XmlElement | undefined = fault.detail.find((item) => item.is(SERVICE, 'Failure'));
  const named = detail?.attribute('code');
  const code = ERROR_CODES.find((known) => known === named) ?? 'FAULT';
  const errno = detail?.attribute('errno');
  const subcode = fault.subcodes.at(-1)?.localName ?? fault.code;
  return new Failure(code, printable(fault.reason), {
    errno,
    subcode,
    path: decoded(detail?.attribute('path')),
  });
}

/** A peer's text without what would move a terminal's cursor. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is taken out
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, '?');
}

function decoded(path: string | undefined): string | undefined {
  try {
    return path === undefined ? undefined : printable(decodeURI(path));
  } catch {
    return undefined;
  }
}
