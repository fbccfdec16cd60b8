// A service that asks its partner before it runs itself, and fails when that does not answer.
import { body, contract, integer, Service } from '../../../lib/runtime/index.js';
import { Counter } from './counter.js';

const AsksEarly = contract('urn:splitplane:test:asks-early', {
  operations: {},
  state: body('AsksEarlyState', { count: integer() }),
});

export default class extends Service<typeof AsksEarly> {
  readonly contract = AsksEarly;
  override state = { count: 0 };
  readonly handlers = {};

  override async start(): Promise<void> {
    this.state = await this.partner('other', Counter).add({ count: 1 });
  }
}
