// How vitest runs the TypeScript tests: in processes of their own, since the addon and its sockets belong to a
// process, and two at a time, since a test machine may have two cores.

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/{unit,types,golden,faults,conformance,fuzz,cli,runtime}/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // A backstop for a test that hangs; nothing is measured against it.
    testTimeout: 30_000,
  },
});
