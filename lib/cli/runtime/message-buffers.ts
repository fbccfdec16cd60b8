// The buffers of a message that came: listed, and stored in files on request. Names of files come from the peer and are kept
// inside the directory. Knows nothing of what the bytes mean.
import { constants } from 'node:fs';
import { mkdir, open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Attached } from '../../runtime/attached.js';
import { withPath } from '../../runtime/failure.js';
import { formatBytes, print } from '../terminal.js';

const { O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } = constants;
/** What one write(2) is asked to do; Linux does a little less than 2 GiB at once. */
const WRITE_BYTES_MAX = 1 << 30;

/** A buffer of a message, by what the message calls it. */
export interface NamedBuffer {
  readonly cid: string;
  readonly attached: Attached;
}

/** What is told of a buffer. */
export interface BufferFacts {
  readonly cid: string;
  readonly bytes: number;
  /** Where it was stored. */
  readonly file?: string;
}

/**
 * The facts of each buffer; with `into`, they are stored there as PREFIX and cid, the directory made if need be. A file gets
 * its name when it is whole; one of that name is replaced. Rejects as Attached.resolve does, and with SYSTEM.
 */
export async function takeBuffers(
  buffers: readonly NamedBuffer[],
  { into, prefix = '', signal }: { into: string | undefined; prefix?: string; signal: AbortSignal },
): Promise<BufferFacts[]> {
  const facts: BufferFacts[] = [];
  for (const { cid, attached } of buffers) {
    const { length: bytes, access } = attached;
    if (into === undefined || access !== 'read') {
      facts.push({ cid, bytes });
      continue;
    }
    await withPath(into, () => mkdir(into, { recursive: true }));
    const file = join(into, prefix + fileNameOf(cid));
    await store(attached, file, signal);
    facts.push({ cid, bytes, file });
  }
  return facts;
}

export function printBuffers(facts: readonly BufferFacts[]): void {
  for (const { cid, bytes, file } of facts) {
    print(`buffer ${cid}: ${formatBytes(bytes)}${file === undefined ? '' : `, in ${file}`}`);
  }
}

/** A content id has no slash; one that begins with a dot would be hidden, or be no name at all. */
function fileNameOf(cid: string): string {
  return cid.startsWith('.') ? `_${cid}` : cid;
}

async function store(attached: Attached, file: string, signal: AbortSignal): Promise<void> {
  // An empty buffer has nothing that could be moved.
  using resolved = attached.length === 0 ? undefined : await attached.resolve({ signal });
  const partial = `${file}.splitplane-partial`;
  await withPath(file, async () => {
    const handle = await open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o666);
    try {
      const bytes = resolved?.bytes ?? new Uint8Array(0);
      for (let at = 0; at < bytes.length;) {
        const length = Math.min(WRITE_BYTES_MAX, bytes.length - at);
        at += (await handle.write(bytes, at, length, at)).bytesWritten;
      }
    } finally {
      await handle.close();
    }
    await rename(partial, file);
  }).catch(async (error: unknown) => {
    await unlink(partial).catch(() => undefined);
    throw error;
  });
}
