// Errors that go from a thread or process to its runtime. Knows how one is told and what becomes of it there.
import { ERROR_CODES, SplitplaneError } from '../../errors.js';
import type { Failure } from './messages.js';

export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return { message: String(error), stack: undefined, code: undefined };
  const code = error instanceof SplitplaneError ? error.code : undefined;
  return { message: error.message, stack: error.stack, code };
}

/** The error again, with the stack of where it was thrown. */
export function errorOf({ message, stack, code }: Failure): Error {
  const known = ERROR_CODES.find((one) => one === code);
  const error = known === undefined ? new Error(message) : new SplitplaneError(known, message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
