// Registered memory for the services of a runtime: the network manager's where there is one, so that what is sent lies where
// transports reach it, else memory of an engine that no network is attached to. Made when somebody first asks for it.
import { SplitplaneError } from '../errors.js';
import { Dataplane, type SessionHandler } from '../dataplane/dataplane.js';
import type { LeakListener, RegisteredBuffer } from '../dataplane/memory.js';
import { completeOptions } from '../network/options.js';
import type { NetworkManager } from '../network/manager.js';

const nobody = (): void => undefined;
/** There are no sessions, so none of these is ever called. */
const NO_SESSIONS: SessionHandler = {
  hello: nobody,
  open: nobody,
  message: nobody,
  messageCanceled: nobody,
  delivered: nobody,
  writable: nobody,
  interrupted: nobody,
  resumed: nobody,
  closed: nobody,
};

export class RuntimeMemory {
  readonly #manager: NetworkManager | undefined;
  readonly #onLeak: LeakListener;
  #own: Dataplane | undefined;
  #closed = false;

  constructor(manager: NetworkManager | undefined, onLeak: LeakListener) {
    this.#manager = manager;
    this.#onLeak = onLeak;
  }

  /** Contents undefined; whoever has it last releases it. Throws OUT_OF_MEMORY. */
  allocate(length: number): RegisteredBuffer {
    return this.#manager?.allocate(length) ?? this.#standIn.memory.allocate(length);
  }

  /** A regular file as something to lend. See Memory.registerFile. */
  registerFile(path: string): Promise<RegisteredBuffer> {
    return this.#manager?.registerFile(path) ?? this.#standIn.memory.registerFile(path);
  }

  get counters() {
    if (this.#closed) return undefined;
    return this.#manager?.stats.memory ?? this.#own?.memory.counters;
  }

  close(): void {
    this.#own?.shutdown();
    this.#closed = true;
  }

  get #standIn(): Dataplane {
    if (this.#closed) throw new SplitplaneError('CLOSED', 'The runtime is closed. Start another.');
    this.#own ??= new Dataplane(
      { ...completeOptions({}), encodings: ['xml'], onLeak: this.#onLeak },
      NO_SESSIONS,
    );
    return this.#own;
  }
}
