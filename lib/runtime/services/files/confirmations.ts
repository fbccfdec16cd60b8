// Digests that senders of files still owe: a put begins before its sender has read the whole file, and its SHA-256 comes in a message of
// its own. Each asker's are apart from all others'. Knows nothing of files.
import { Fault } from '../../fault.js';

export interface Expected {
  /** Settles when it was told. Never rejects, and never settles after end(). */
  readonly sha256: Promise<string>;
  /** Nobody waits for it any more. */
  end(): void;
}

export class Confirmations {
  readonly #byAsker = new Map<unknown, Map<string, (sha256: string) => void>>();

  /** Throws Fault DuplicateEntry when the asker has a transfer of this name. */
  expect(asker: unknown, transfer: string): Expected {
    const transfers = this.#byAsker.get(asker) ?? new Map<string, (sha256: string) => void>();
    if (transfers.has(transfer)) {
      throw new Fault('DuplicateEntry', 'Another transfer of yours has this name. Choose a name for each.');
    }
    this.#byAsker.set(asker, transfers);
    const sha256 = new Promise<string>((resolve) => transfers.set(transfer, resolve));
    const end = (): void => {
      transfers.delete(transfer);
      if (transfers.size === 0) this.#byAsker.delete(asker);
    };
    return { sha256, end };
  }

  /** Tells it to whoever waits; a transfer that has failed meanwhile does not expect it any more. */
  tell(asker: unknown, transfer: string, sha256: string): void {
    this.#byAsker.get(asker)?.get(transfer)?.(sha256);
  }
}
