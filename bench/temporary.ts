/**
 * Places for unix sockets of the measured processes, which are gone with whoever asked for one. It knows no subject.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** A path in a folder of its own, which is removed when `signal` aborts or the process exits, whichever is first. */
export function temporarySocket(signal: AbortSignal): string {
  const directory = mkdtempSync(`${tmpdir()}/splitplane-bench-`);
  const remove = () => {
    rmSync(directory, { recursive: true, force: true });
  };
  signal.addEventListener('abort', remove);
  process.once('exit', remove);
  return `${directory}/socket`;
}
