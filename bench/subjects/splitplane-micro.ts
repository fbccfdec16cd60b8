/**
 * The subject `splitplane` of suite serializer: its micro-benchmarks, each run in a process of its own.
 */
import { once } from 'node:events';
import { forkNode, kill, placement, withTimeout } from '../children.js';
import { BenchError, UNTOLD, type Subject } from '../measurement.js';
import { MICROS } from '../micro/micros.js';
import type { Finding, Order } from '../micro/run.js';

const SCRIPT = new URL('../micro/run.js', import.meta.url);

export const splitplaneMicroSubject: Subject = {
  name: 'splitplane',
  cases: MICROS.map(({ task }) => task),
  measure: async (task, { warmupMs, measureMs, timeoutMs }) => {
    const child = forkNode(SCRIPT, placement().client);
    try {
      const told = once(child, 'message') as Promise<[Finding]>;
      const ended = once(child, 'exit').then((): never => {
        throw new BenchError('ERR_BENCH_PEER', `the process of ${task.metric} ended early.`);
      });
      // The package finds out by itself for how long code has to run until it is known.
      const order: Order = { task, measureMs: warmupMs + measureMs };
      child.send(order);
      const [{ perSecond, slowest }] = await withTimeout(Promise.race([told, ended]), timeoutMs, task.metric);
      return { ...UNTOLD, median: perSecond, p99: slowest };
    } finally {
      await kill(child);
    }
  },
};
