// Which splitplane this is. One place, because the command line and every runtime's node service tell it.
import { createRequire } from 'node:module';

/** The version of this package. */
export const { version } = createRequire(import.meta.url)('splitplane/package.json') as { version: string };
