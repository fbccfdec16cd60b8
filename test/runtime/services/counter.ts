// A service as a manifest names it: it counts, keeps what it counted as its state, and asks its partner to count with it.
import {
  body,
  contract,
  integer,
  Service,
  Submit,
  text,
  Upsert,
  type Handlers,
} from '../../../lib/runtime/index.js';

export const Counter = contract('urn:splitplane:test:counter', {
  operations: {
    add: Upsert(body('Add', { count: integer() }), body('Added', { count: integer() })),
    addToPartner: Submit(
      body('AddToPartner', { count: integer() }),
      body('PartnerAdded', { count: integer() }),
    ),
    where: Submit(body('Where', {}), body('Here', { uri: text() })),
  },
  notifications: { added: body('WasAdded', { count: integer() }) },
  state: body('CounterState', { count: integer() }),
});

export default class extends Service<typeof Counter> {
  readonly contract = Counter;
  override state = { count: 0 };
  readonly handlers: Handlers<typeof Counter> = {
    add: ({ body: { count } }) => {
      this.state = { count: this.state.count + count };
      this.publish('added', this.state);
      return this.state;
    },
    addToPartner: ({ body: { count } }) => this.partner('other', Counter).add({ count }),
    where: () => ({ uri: this.uri }),
  };
}
