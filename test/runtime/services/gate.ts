// A service whose handlers end when the test says so: to have messages that wait, hang, and overtake each other.
import {
  body,
  buffer,
  contract,
  integer,
  optional,
  Query,
  Service,
  Submit,
  type Call,
  type Concurrency,
  type Handlers,
} from '../../../lib/runtime/index.js';

const numbered = { number: integer() };

export const Gate = contract('urn:splitplane:test:gate', {
  operations: {
    /** Ends when it is let go. */
    wait: Submit(body('Wait', { ...numbered, pixels: optional(buffer()) }), body('Waited', numbered)),
    /** The same as a read. */
    peek: Query(body('Peek', numbered), body('Peeked', numbered)),
    /** Ends at once. */
    pass: Submit(body('Pass', numbered), body('Passed', numbered)),
  },
  notifications: { happened: body('Happened', { ...numbered, pixels: optional(buffer()) }) },
  state: body('GateState', numbered),
});

export class GateService extends Service<typeof Gate> {
  readonly contract = Gate;
  override readonly concurrency: Concurrency;
  override state = { number: 0 };
  /** The numbers of the messages that have begun, and of those that have ended. */
  readonly begun: number[] = [];
  readonly ended: number[] = [];
  readonly calls = new Map<number, Call>();
  readonly #waiting = new Map<number, () => void>();
  #open = false;
  started = 0;
  stopped = 0;

  constructor(
    concurrency: Concurrency = 'concurrent-reads',
    override readonly queueMax = 1024,
  ) {
    super();
    this.concurrency = concurrency;
  }

  readonly handlers: Handlers<typeof Gate> = {
    wait: (call) => this.#wait(call),
    peek: (call) => this.#wait(call),
    pass: ({ body: { number } }) => ({ number }),
  };

  override start(): void | Promise<void> {
    this.started++;
  }

  override stop(): void {
    this.stopped++;
  }

  /** Lets one message go, or all that there are and will be. */
  release(number?: number): void {
    if (number === undefined) this.#open = true;
    for (const [each, go] of [...this.#waiting]) if (number === undefined || each === number) go();
  }

  async #wait(call: Call<{ readonly number: number }>): Promise<{ number: number }> {
    const { number } = call.body;
    this.begun.push(number);
    this.calls.set(number, call);
    if (!this.#open) await new Promise<void>((resolve) => this.#waiting.set(number, resolve));
    this.#waiting.delete(number);
    this.ended.push(number);
    return { number };
  }
}
