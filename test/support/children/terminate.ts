// Starts workers that move bytes and terminates each in the middle of it. Argument: { rounds }. Tells { rounds: what the
// process had after each }, and must end by itself with code 0.
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

const { rounds } = JSON.parse(process.argv[2] ?? '{}') as { rounds: number };
const after: { rss: number; descriptors: number }[] = [];
for (let round = 0; round < rounds; round++) {
  const worker = new Worker(new URL('mover.js', import.meta.url));
  await once(worker, 'message');
  await worker.terminate();
  after.push({ rss: process.memoryUsage.rss(), descriptors: readdirSync('/proc/self/fd').length });
}
process.send?.({ rounds: after }, () => process.disconnect());
