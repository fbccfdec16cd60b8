// What went wrong, in words. Knows nothing of who reads them.
import { inspect } from 'node:util';
import { SplitplaneError } from '../errors.js';

/** All there is to say, for the log. Of whatever a service throws: nothing is asked of it that could throw again. */
export function describe(error: unknown): string {
  return inspect(error);
}

/** What an error says; all there is to say of what is none. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : describe(error);
}

/** Errors of this project say what to do; of others, where they come from is worth more than what they say. */
export function whyOf(error: unknown): string {
  return error instanceof SplitplaneError ? error.message : describe(error);
}
