// What lies in a directory of whoever runs this process, as a list of files and directories to send. Symbolic links are
// told, not followed: they could lead anywhere, or around in circles.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { withPath } from '../../runtime/failure.js';
import { isPartialName } from '../../runtime/services/files/partial.js';
import { kindOf, type Kind } from '../../runtime/services/files/root.js';

export interface LocalEntry {
  /** Below the directory, with slashes. */
  readonly path: string;
  /** For node:fs. */
  readonly place: string;
  readonly kind: Kind;
}

/**
 * Everything below `directory`, each directory before what is in it, by name. One that cannot be read is told to `leaveOut`, and the
 * others go on.
 */
export async function* walk(
  directory: string,
  leaveOut: (path: string, error: unknown) => void,
  below = '',
): AsyncGenerator<LocalEntry, void, void> {
  const found = await withPath(directory, () => readdir(directory, { withFileTypes: true })).catch(
    (error: unknown) => {
      leaveOut(directory, error);
      return [];
    },
  );
  for (const entry of found.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (isPartialName(entry.name)) continue;
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    const place = join(directory, entry.name);
    const kind = kindOf(entry);
    yield { path, place, kind };
    if (kind === 'directory') yield* walk(place, leaveOut, path);
  }
}
