// Which modules may be loaded by messages: those below the folder of the runtime's manifest. What a message names is a stranger's word;
// this makes a file of it or refuses. Imports nothing itself.
import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Fault } from '../fault.js';

/** UTF-16 units of a path. */
const PATH_LENGTH_MAX = 4096;

export class ModuleFolder {
  readonly #folder: string | undefined;

  /** `folder` is absolute; undefined where there is no manifest, and then no module may be loaded. */
  constructor(folder: string | undefined) {
    this.#folder = folder;
  }

  /** Where manifests that come in messages count as standing: `name` below the folder. */
  fileCalled(name: string): string {
    return join(this.#folder ?? '/', name);
  }

  /**
   * The file: URL of a module, from its path below the folder. Rejects with Fault PermissionDenied for a path that leads out of
   * it, and UnknownEntry where there is no such file, or its links lead out: which of the two is not told.
   */
  async urlOf(path: string): Promise<string> {
    const folder = this.#folder;
    if (folder === undefined) {
      throw new Fault(
        'PermissionDenied',
        'This runtime has no manifest, and so no folder to load modules from. Create a built-in service.',
      );
    }
    const asked = resolve(folder, path);
    if (path.includes('\0') || path.length > PATH_LENGTH_MAX || !isBelow(folder, asked)) {
      throw new Fault(
        'PermissionDenied',
        'A module has to be below the folder of the manifest. Give its path from there.',
      );
    }
    try {
      const found = await realpath(asked);
      if (isBelow(await realpath(folder), found) && (await stat(found)).isFile())
        return pathToFileURL(found).href;
    } catch {
      // Whatever is wrong with it, it is not a module that can be loaded.
    }
    throw new Fault('UnknownEntry', 'There is no such module below the folder of the manifest.');
  }
}

function isBelow(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith('../') && !isAbsolute(way);
}
