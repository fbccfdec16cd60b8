/**
 * What two processes with open connections cost while nothing happens. The kernel is asked, from outside: a measured process that
 * is told to begin and asked for its report spends more on these two messages than on ten seconds of its connections. It must not
 * know how connections are made.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { BenchError, MIB, UNTOLD, type Budget, type Case, type Sample } from './measurement.js';
import { withPair, type PairTraffic } from './pair-processes.js';

/** In which what a process does after it has connected ends: code that was compiled beside it, memory that is swept. */
const WARMUPS = 3;
/** What wakes up every few seconds, as a question to the peer does, would else be seen in one interval and not in the next. */
const IDLE_INTERVALS = 5;
const NS_PER_MS = 1e6;

/** In percent of one processor, both processes together. Rejects with a BenchError. */
export function measureIdle(traffic: PairTraffic, task: Case, budget: Budget): Promise<Sample> {
  return withPair(traffic, task, budget.timeoutMs, async (pair) => {
    await delay(WARMUPS * budget.warmupMs);
    const spentMs = () => pair.processIds().reduce((sum, id) => sum + processorMs(id), 0);
    const spentBefore = spentMs();
    const begin = performance.now();
    await delay(IDLE_INTERVALS * budget.measureMs);
    const percent = (100 * (spentMs() - spentBefore)) / (performance.now() - begin);
    const { server, client } = await pair.progress();
    const residentMiB = Math.max(server.residentBytes, client.residentBytes) / MIB;
    return { ...UNTOLD, median: percent, residentMiB };
  });
}

/** Processor time of all threads that a process has. The kernel's usual counts are in steps of ten milliseconds; these are in nanoseconds. */
export function processorMs(processId: number): number {
  const threads = `/proc/${processId}/task`;
  try {
    const ns = readdirSync(threads).map((id) =>
      Number.parseInt(readFileSync(`${threads}/${id}/schedstat`, 'utf8'), 10),
    );
    return ns.reduce((sum, each) => sum + each, 0) / NS_PER_MS;
  } catch (cause) {
    if (existsSync('/proc/self/schedstat')) {
      throw new BenchError('ERR_BENCH_PEER', `Process ${processId} ended while it was watched.`, { cause });
    }
    const message = 'This kernel does not tell the processor time of threads (/proc/PID/task/TID/schedstat).';
    throw new BenchError('ERR_BENCH_TOOL_MISSING', message, { cause });
  }
}
