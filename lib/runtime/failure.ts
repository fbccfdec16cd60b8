// An error that tells programs more than its code: which file, and what the operating system called it. The same at the end where
// it happened and, from the detail of a fault, at the other. Knows nothing of what was asked.
import { ERROR_CODES, SplitplaneError, type ErrorCode } from '../errors.js';
import { DSSP } from '../soap/namespaces.js';
import { element, type XmlElement } from '../soap/infoset.js';
import type { DsspSubcode, SoapFault } from '../soap/fault.js';
import { SERVICE } from './names.js';
import { printableLine } from './printable.js';

interface Circumstances {
  readonly errno?: string | undefined;
  readonly path?: string | undefined;
  readonly subcode?: string | undefined;
  readonly cause?: unknown;
}

export class Failure extends SplitplaneError {
  /** The operating system's name of its error, at whichever end it occurred. */
  readonly errno: string | undefined;
  readonly path: string | undefined;
  /** The fault's subcode, when a peer answered with one. */
  readonly subcode: string | undefined;

  constructor(code: ErrorCode, message: string, { errno, path, subcode, cause }: Circumstances = {}) {
    super(code, message, { cause });
    this.errno = errno;
    this.path = path;
    this.subcode = subcode;
  }
}

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
  ENOTEMPTY: 'It is a directory that is not empty. Remove what is in it first.',
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

/** Links of a chain of causes that are looked at. */
const CAUSES_MAX = 8;

/** ENOENT and its like, from anywhere in the chain of causes. */
export function errnoOf(error: unknown): string | undefined {
  let at = error;
  for (let depth = 0; at instanceof Error && depth < CAUSES_MAX; depth++) {
    if (at instanceof Failure && at.errno !== undefined) return at.errno;
    const { code } = at as NodeJS.ErrnoException;
    if (code !== undefined && /^E[A-Z0-9]+$/.test(code)) return code;
    at = at.cause;
  }
  return undefined;
}

const SUBCODES: Readonly<Partial<Record<string, DsspSubcode>>> = {
  ABORTED: 'OperationCanceled',
  DEADLINE_EXCEEDED: 'ResponseTimeout',
  OUT_OF_MEMORY: 'InsufficientResources',
  QUOTA_EXCEEDED: 'InsufficientResources',
  LIMIT_EXCEEDED: 'InsufficientResources',
  PERMISSION_DENIED: 'PermissionDenied',
} satisfies Partial<Record<ErrorCode, DsspSubcode>>;

const ERRNO_SUBCODES: Readonly<Partial<Record<string, DsspSubcode>>> = {
  ENOENT: 'UnknownEntry',
  ENOTDIR: 'UnknownEntry',
  EEXIST: 'DuplicateEntry',
  EACCES: 'PermissionDenied',
  EPERM: 'PermissionDenied',
  EROFS: 'PermissionDenied',
  ENOSPC: 'InsufficientResources',
  EDQUOT: 'InsufficientResources',
  EMFILE: 'InsufficientResources',
  ENFILE: 'InsufficientResources',
};

/** The subcode of DSSP that comes nearest. */
export function subcodeOf({ code }: SplitplaneError, errno: string | undefined): DsspSubcode {
  return SUBCODES[code] ?? ERRNO_SUBCODES[errno ?? ''] ?? 'OperationFailed';
}

/** What a fault says of an error beside its reason, for failureOfFault at the other end. */
export function failureDetail(error: SplitplaneError, errno: string | undefined): XmlElement {
  const attributes: Record<string, string> = { code: error.code };
  if (errno !== undefined) attributes.errno = errno;
  const { path } = error instanceof Failure ? error : {};
  if (path !== undefined) attributes.path = encodeURI(path);
  return element(SERVICE, 'Failure', [], { attributes });
}

/** Codes for faults without a detail: a dispatcher, a port or a security manager answered, and not the service. */
const CODES: Readonly<Partial<Record<string, ErrorCode>>> = {
  PermissionDenied: 'PERMISSION_DENIED',
  ResponseTimeout: 'DEADLINE_EXCEEDED',
  OperationCanceled: 'ABORTED',
} satisfies Partial<Record<DsspSubcode, ErrorCode>>;

/** The failure that a fault tells of. What a peer says is shown, not trusted. */
export function failureOfFault(fault: SoapFault): Failure {
  const detail = fault.detail.find((item) => item.is(SERVICE, 'Failure'));
  const named = detail?.attribute('code');
  const subcode = fault.subcodes.at(-1)?.localName ?? fault.code;
  const byDssp = fault.hasSubcode(DSSP, subcode) ? CODES[subcode] : undefined;
  const code = ERROR_CODES.find((known) => known === named) ?? byDssp ?? 'FAULT';
  const errno = detail?.attribute('errno');
  return new Failure(code, printableLine(fault.reason), {
    errno: errno === undefined ? undefined : printableLine(errno),
    subcode,
    path: decoded(detail?.attribute('path')),
  });
}

function decoded(path: string | undefined): string | undefined {
  try {
    return path === undefined ? undefined : printableLine(decodeURI(path));
  } catch {
    return undefined;
  }
}
