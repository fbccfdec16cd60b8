// Sees to it that of the processes of this host one at a time writes a file: two would share its partial file, and one could give
// the other's bytes its name. What is locked is a name in Linux' abstract socket namespace, which ends with the process, however that
// ends, and leaves nothing on a disk. Processes in another network namespace have their own.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { errnoOf, Failure, withPath } from '../../runtime/failure.js';
import type { Directory } from '../../runtime/services/files/root.js';

/** Of the digest of a name: sockaddr_un has 107 bytes for all of it. */
const NAME_DIGITS = 32;

/** Does what writes the file. Settles as `act` does; rejects with REGION_BUSY when somebody else is at it. */
export async function alone<T>(directory: Directory, name: string, act: () => Promise<T>): Promise<T> {
  const shown = directory.showing(name);
  const lock = createServer((socket) => socket.destroy());
  try {
    // Whatever way leads to the directory, it is this one.
    const { dev, ino } = await withPath(shown, () => stat(directory.at('.'), { bigint: true }));
    const digest = createHash('sha256').update(name).digest('hex').slice(0, NAME_DIGITS);
    lock.listen(`\0splitplane/${dev}/${ino}/${digest}`);
    await withPath(shown, () => once(lock, 'listening'));
  } catch (error) {
    if (errnoOf(error) !== 'EADDRINUSE') throw error;
    const message = `${shown} is being written by another transfer. Try again later.`;
    throw new Failure('REGION_BUSY', message, { path: shown });
  }
  try {
    return await act();
  } finally {
    const closed = once(lock, 'close');
    lock.close();
    await closed;
  }
}
