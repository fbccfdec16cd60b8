/**
 * The service that the runtime's benchmark asks, as a module: it may live in a process of its own.
 */
import { Service, type Handlers } from '../../lib/runtime/index.js';
import { Bench } from './contract.js';

const handlers: Handlers<typeof Bench> = { ask: ({ body }) => ({ number: body.number }) };

export default class BenchService extends Service<typeof Bench> {
  readonly contract = Bench;
  readonly handlers = handlers;
}
