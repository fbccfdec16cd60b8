// What can go wrong with a command, as one sentence for people, fields for programs, and an exit code. The one place that maps
// between them. Knows nothing of what the commands do.
import { SplitplaneError, type ErrorCode } from '../errors.js';
import { errnoOf, Failure, failureOfFault } from '../runtime/failure.js';
import { printableLine } from '../runtime/printable.js';
import { FaultError, type FaultCode, type SoapFault } from '../soap/fault.js';

/** What the process answers its caller. Printed by `--help`, described in docs/CLI.md. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  noConnection: 3,
  refused: 4,
  partly: 5,
  fault: 6,
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
  6    the service answered with a fault
  130  interrupted (Ctrl-C); 143 when it was ended by SIGTERM`;

/** What a program gets to know of a failure, with --json. */
export interface Problem {
  readonly code: ErrorCode | 'USAGE';
  readonly message: string;
  /** SOAP's code of the fault, when a service answered with one and that is what was to be found out. */
  readonly faultCode?: FaultCode;
  /** The fault's subcode, when the peer answered with one. */
  readonly subcode?: string;
  /** The operating system's name of its error, at whichever end it occurred. */
  readonly errno?: string;
  readonly path?: string;
}

/** The command line is wrong. */
export class UsageError extends Error {}

/** A service that was asked answered with a fault. */
export class FaultAnswer extends Failure {
  readonly faultCode: FaultCode;

  constructor(fault: SoapFault, message?: string) {
    const failure = failureOfFault(fault);
    const { errno, path, subcode } = failure;
    super('FAULT', message ?? failure.message, { errno, path, subcode: subcode && printableLine(subcode) });
    this.faultCode = fault.code;
  }
}

/** What is answered, with a fault as FaultAnswer. */
export async function answerOf<T>(asking: Promise<T>): Promise<T> {
  try {
    return await asking;
  } catch (error) {
    throw error instanceof FaultError ? new FaultAnswer(error.fault) : error;
  }
}

/** What a program, or a person, is told. */
export function describe(error: unknown): Problem {
  if (error instanceof UsageError) return { code: 'USAGE', message: error.message };
  const failure = error instanceof FaultError ? failureOfFault(error.fault) : error;
  const message = failure instanceof Error ? failure.message : String(failure);
  const errno = errnoOf(failure);
  const { path, subcode } = failure instanceof Failure ? failure : {};
  const { faultCode } = failure instanceof FaultAnswer ? failure : {};
  return {
    code: failure instanceof SplitplaneError ? failure.code : 'SYSTEM',
    message: message.replace(/\s*\n\s*/g, ' '),
    ...(faultCode === undefined ? {} : { faultCode }),
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

export function exitCodeOf({ code, faultCode }: Problem): ExitCode {
  if (faultCode !== undefined) return EXIT.fault;
  if (code === 'USAGE') return EXIT.usage;
  if (NO_CONNECTION.includes(code)) return EXIT.noConnection;
  if (REFUSED.includes(code)) return EXIT.refused;
  return EXIT.failed;
}
