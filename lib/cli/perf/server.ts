// The serving side of `ping` and `perf`: sends back what came, gives memory for one-sided access, counts messages, and says
// what this process spends.
import type { Connection } from '../../network/connection.js';
import type { RegisteredBuffer } from '../../dataplane/memory.js';
import type { NetworkManager } from '../../network/manager.js';
import { include } from '../../soap/references.js';
import { Failure } from '../../runtime/failure.js';
import type { Answer, Call, Handlers } from '../service.js';
import { UsageMeter, usageAttributes } from '../usage.js';
import { PING_BYTES_MAX, SHARE_BYTES_MAX, SHARED_BYTES_MAX } from './limits.js';

export class PerfService {
  readonly #meters = new WeakMap<Connection, UsageMeter>();
  #sharedBytes = 0;

  get handlers(): Handlers {
    return {
      Ping: (call) => echo(call),
      Echo: async (call) => ({ ...(await echo(call)), quiet: true }),
      Share: (call) => this.#share(call),
      Discard: () => Promise.resolve(undefined),
      Usage: (call) => this.#usage(call),
    };
  }

  /** Memory that the asker may read, write or update until it releases the answer. */
  #share({ fields, message, manager }: Call): Promise<Answer> {
    const size = fields.count('size', SHARE_BYTES_MAX);
    const access = fields.choice('access', ['read', 'write', 'atomic'] as const);
    if (this.#sharedBytes + size > SHARED_BYTES_MAX) {
      const reason = `${SHARED_BYTES_MAX} bytes are shared already. Try again when others are done.`;
      throw new Failure('QUOTA_EXCEEDED', reason);
    }
    const buffer = touched(manager, size);
    this.#sharedBytes += size;
    const exposure = message.connection.share(buffer, { access });
    void exposure.ended.then(() => {
      this.#sharedBytes -= size;
    });
    return Promise.resolve({
      bytes: size,
      content: [include('buffer-0')],
      buffers: [exposure],
      sent: () => {
        buffer.release();
      },
    });
  }

  #usage({ fields, message, manager }: Call): Promise<Answer> {
    const { connection } = message;
    let meter = this.#meters.get(connection);
    if (fields.choice('step', ['start', 'read'] as const) === 'start' || meter === undefined) {
      meter ??= new UsageMeter(manager);
      this.#meters.set(connection, meter);
      const started = meter;
      started.start();
      void connection.closed.then(() => {
        started.stop();
      });
      return Promise.resolve({ attributes: usageAttributes(started.read()) });
    }
    const usage = meter.read();
    meter.stop();
    return Promise.resolve({ attributes: usageAttributes(usage) });
  }
}

/** Its pages are there before anything is measured. */
export function touched(manager: NetworkManager, length: number): RegisteredBuffer {
  const buffer = manager.allocate(length);
  buffer.bytes.fill(1);
  return buffer;
}

/** Sends back the buffer that came, if any. */
async function echo(call: Call): Promise<Answer> {
  const { message, manager } = call;
  const remote = message.buffers[0];
  if (remote === undefined) return {};
  if (remote.length > PING_BYTES_MAX)
    throw new Failure('LIMIT_EXCEEDED', `A ping carries at most ${PING_BYTES_MAX} bytes. Send fewer.`);
  let buffer: RegisteredBuffer;
  if (remote.inline === undefined) {
    buffer = await remote.resolve({ signal: call.signal });
  } else {
    buffer = manager.allocate(remote.length);
    remote.inline.copy(buffer.bytes);
  }
  return {
    bytes: remote.length,
    content: [include('echo')],
    buffers: [{ buffer, cid: 'echo' }],
    sent: () => {
      buffer.release();
    },
  };
}
