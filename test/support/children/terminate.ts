// Starts workers that move bytes and terminates each in the middle of it. Argument: { at: where they listen, rounds }. Tells { rounds: what the
// process had after each }, and must end by itself with code 0.
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

/** Between the first moment and the last at which a worker that is starting is terminated. */
const SOONER_STEP_MS = 7;

const { at, rounds } = JSON.parse(process.argv[2] ?? '{}') as { at: string; rounds: number };
/** Sockets, memory and event queues. Files do not count: Node itself loses some of a worker that is ended while it loads. */
function descriptorCount(): number {
  return readdirSync('/proc/self/fd').filter((name) => {
    try {
      return /^(socket|anon_inode|\/memfd)/.test(readlinkSync(`/proc/self/fd/${name}`));
    } catch {
      return false;
    }
  }).length;
}

const after: { rss: number; descriptors: number }[] = [];
for (let round = 0; round < rounds; round++) {
  const worker = new Worker(new URL('mover.js', import.meta.url), { workerData: { at } });
  // Every other one sooner: while it loads, makes its managers, connects.
  if (round % 2 === 0) await once(worker, 'message');
  else await new Promise((resolve) => setTimeout(resolve, round * SOONER_STEP_MS));
  await worker.terminate();
  after.push({ rss: process.memoryUsage.rss(), descriptors: descriptorCount() });
}
process.send?.({ rounds: after }, () => process.disconnect());
