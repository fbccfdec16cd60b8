// The serving side of `ping` and `perf`: sends back what came, gives memory for one-sided access, counts messages, and says
// what this process spends. A service about connections, and of the one runtime that it is made for.
import type { Connection } from '../../network/connection.js';
import type { RegisteredBuffer } from '../../dataplane/memory.js';
import type { NetworkManager } from '../../network/manager.js';
import {
  Failure,
  lend,
  Service,
  type Attached,
  type Call,
  type Handlers,
  type ReceivedRequest,
} from '../../runtime/index.js';
import { Admission } from '../../runtime/services/admission.js';
import type { RequestLog } from '../request-log.js';
import { UsageMeter, type Usage } from '../usage.js';
import { Measure } from './contract.js';
import { PING_BYTES_MAX, SHARED_BYTES_MAX } from './limits.js';

interface Payload {
  readonly payload?: Attached | undefined;
}
type Shared = ReceivedRequest<(typeof Measure)['operations']['share']>;
type Step = ReceivedRequest<(typeof Measure)['operations']['usage']>;

export class MeasureService extends Service<typeof Measure> {
  readonly contract = Measure;
  override readonly concurrency = 'concurrent';
  readonly handlers: Handlers<typeof Measure>;
  readonly #manager: NetworkManager;
  readonly #admission = new Admission();
  readonly #meters = new WeakMap<Connection, UsageMeter>();
  #sharedBytes = 0;

  constructor(manager: NetworkManager, log: RequestLog) {
    super();
    this.#manager = manager;
    this.handlers = this.#logged(log);
  }

  #logged(log: RequestLog): Handlers<typeof Measure> {
    return {
      ping: log.logged(
        'Ping',
        (call: Call<Payload>) => this.#echo(call),
        (_, { payload }) => ({ bytes: payload?.length }),
      ),
      echo: log.logged('Echo', (call: Call<Payload>) => this.#echo(call)),
      share: log.logged(
        'Share',
        ({ body: { size, access }, connection }: Call<Shared>) =>
          this.#share(connection ?? this, size, access),
        ({ size }) => ({ bytes: size }),
      ),
      discard: () => undefined,
      usage: log.logged(
        'Usage',
        ({ body: { step }, connection }: Call<Step>) => this.#usage(step, connection),
        () => ({}),
      ),
    };
  }

  /** Sends back the buffer that came, if any. */
  #echo(call: Call<Payload>): Promise<{ payload?: RegisteredBuffer }> {
    return this.#admission.run(call, async () => {
      const { payload } = call.body;
      if (payload === undefined) return {};
      if (payload.length > PING_BYTES_MAX)
        throw new Failure('LIMIT_EXCEEDED', `A ping carries at most ${PING_BYTES_MAX} bytes. Send fewer.`);
      const buffer = (call.connection ?? this).allocate(payload.length);
      try {
        await payload.resolve({ into: buffer });
        return { payload: buffer };
      } catch (error) {
        buffer.release();
        throw error;
      }
    });
  }

  /** Memory that the asker may read or write until it releases the answer, its own where memory is shared with it. */
  #share(asker: Allocates, size: number, access: 'read' | 'write') {
    if (this.#sharedBytes + size > SHARED_BYTES_MAX) {
      const reason = `${SHARED_BYTES_MAX} bytes are shared already. Try again when others are done.`;
      throw new Failure('QUOTA_EXCEEDED', reason);
    }
    const buffer = touched(asker, size);
    this.#sharedBytes += size;
    const returned = (): void => {
      this.#sharedBytes -= size;
      buffer.release();
    };
    return { content: lend(buffer, access, returned, Infinity) };
  }

  #usage(step: 'start' | 'read', connection: Connection | undefined): Usage {
    if (connection === undefined) {
      throw new Failure('UNSUPPORTED', 'What this process spends is told to peers. Ask over a connection.');
    }
    let meter = this.#meters.get(connection);
    if (step === 'start' || meter === undefined) {
      meter ??= new UsageMeter(this.#manager);
      this.#meters.set(connection, meter);
      const started = meter;
      started.start();
      void connection.closed.then(() => {
        started.stop();
      });
      return started.read();
    }
    const usage = meter.read();
    meter.stop();
    return usage;
  }
}

/** A connection, for memory that its peer may look at, or whatever else has memory. */
interface Allocates {
  allocate(length: number): RegisteredBuffer;
}

/** Its pages are there before anything is measured. */
export function touched(of: Allocates, length: number): RegisteredBuffer {
  const buffer = of.allocate(length);
  buffer.bytes.fill(1);
  return buffer;
}
