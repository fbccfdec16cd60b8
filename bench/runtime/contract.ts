/**
 * What the services of the runtime's benchmark can be asked. Shared by the processes of a pair; it measures nothing.
 */
import { body, buffer, contract, integer, optional, Submit } from '../../lib/runtime/index.js';

/** A request with a number and perhaps a buffer, answered with the number. */
export const Bench = contract('urn:splitplane:bench:runtime:1', {
  operations: {
    ask: Submit(
      body('Ask', { number: integer(), data: optional(buffer()) }),
      body('Told', { number: integer() }),
    ),
  },
  notifications: { changed: body('Changed', { number: integer() }) },
});
