// How vitest runs the TypeScript tests: in processes of their own, since the addon and its sockets belong to a
// process, and three at a time: a test machine may have two cores, and one of three tests waits.

import { fileURLToPath, pathToFileURL } from 'node:url';
import { defineConfig, type Plugin } from 'vitest/config';

const ROOT = fileURLToPath(new URL('.', import.meta.url));

/** Threads that the library starts are not vitest's to translate: they run what test/support/processes.ts compiled. */
const compiledWorkers: Plugin = {
  name: 'compiled-workers',
  enforce: 'pre',
  transform(code, id) {
    if (!id.startsWith(`${ROOT}lib/`) || !code.includes('new Worker(')) return undefined;
    const compiled = pathToFileURL(id.replace(ROOT, `${ROOT}build/test-children/`));
    return { code: code.replaceAll('import.meta.url', `'${compiled.href}'`), map: null };
  },
};

export default defineConfig({
  plugins: [compiledWorkers],
  test: {
    include: ['test/{unit,types,golden,faults,conformance,fuzz,interop,cli,runtime}/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 3,
    // A backstop for a test that hangs; nothing is measured against it.
    testTimeout: 30_000,
  },
});
