// How vitest runs the tests of this folder: in one process, one file after the other, so that all of them use one
// laboratory, which takes longer to start than most of them to run.

import process from 'node:process';
import { defineConfig } from 'vitest/config';

// Who tests real devices need not be able to start virtual ones, nor wants mistakes made on them.
const ofGuests = ['guests', 'command-line', 'doctor', 'failover'].map((name) => `test/lab/${name}.test.ts`);

export default defineConfig({
  test: {
    include: ['test/lab/**/*.test.ts'],
    exclude: process.env['SPLITPLANE_RDMA'] ? ofGuests : [],
    pool: 'forks',
    maxWorkers: 1,
    isolate: false,
    fileParallelism: false,
    // Backstops for what hangs; emulated processors are slow, and nothing is measured against these.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // Seen once in a dozen runs and not explained: a packet filter of an emulated host that let everything through.
    retry: 1,
  },
});
