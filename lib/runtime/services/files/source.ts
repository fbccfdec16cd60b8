// A file that is sent: registered where it lies, and its digest. The same for `put`, where this side begins, and for `get`,
// where the peer asked.
import { open } from 'node:fs/promises';
import type { RegisteredBuffer } from '../../../dataplane/memory.js';
import { errnoOf, Failure, systemFailure, withPath } from '../../failure.js';
import type { Hashes } from './hashes.js';
import { fileChanged, type FoundFile } from './root.js';

/** The bytes of a file as something to refer to; undefined when there are none. The caller releases it. */
export async function registered(
  registerFile: (path: string) => Promise<RegisteredBuffer>,
  file: FoundFile,
): Promise<RegisteredBuffer | undefined> {
  if (file.size === 0) return undefined;
  let region: RegisteredBuffer;
  try {
    region = await registerFile(file.place);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    throw systemFailure(Object.assign(new Error(errno, { cause: error }), { code: errno }), file.shown);
  }
  if (region.length === file.size) return region;
  region.release();
  throw fileChanged(file.shown);
}

/**
 * The SHA-256 of the first `length` bytes of a file. Rejects with FILE_CHANGED when it changed meanwhile, ABORTED, SYSTEM.
 */
export async function digestOf(
  hashes: Hashes,
  file: FoundFile,
  length: number,
  signal: AbortSignal,
): Promise<string> {
  const handle = await withPath(file.shown, () => open(file.place, 'r'));
  try {
    const digest = hashes.begin(handle, file.shown);
    digest.advance(length);
    let onAbort = (): void => undefined;
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => {
        reject(new Failure('ABORTED', 'The digest is not wanted any more.', { path: file.shown }));
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
    try {
      const sha256 = await Promise.race([digest.sha256(), aborted]);
      await file.checkUnchanged();
      return sha256;
    } finally {
      signal.removeEventListener('abort', onAbort);
      await digest.end();
    }
  } finally {
    await handle.close();
  }
}
