// A service that answers nobody, and remembers when it was to.
import { body, contract, Service, Submit, type Handlers } from '../../../lib/runtime/index.js';

export const Sleep = contract('urn:splitplane:test:sleep', {
  operations: { sleep: Submit(body('Sleep', {})) },
});

export default class Sleeper extends Service<typeof Sleep> {
  readonly contract = Sleep;
  override readonly concurrency = 'concurrent';
  readonly handlers: Handlers<typeof Sleep> = {
    sleep: ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          this.log('woken');
          reject(signal.reason as Error);
        });
      }),
  };
}
