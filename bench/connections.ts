/**
 * What the memory of an idle connection is: what a pair of processes with many of them has more than one with a single one. It must
 * not know how they are made.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BenchError, UNTOLD, type Budget, type Case, type Sample } from './measurement.js';
import { withPair, type Both, type PairTraffic } from './pair-processes.js';
import { connectionsPossible } from './subjects/connections.js';

const BYTES_PER_KB = 1000;

/** Both ends are measured, and the larger is told. Rejects with a BenchError. */
export async function measureConnectionMemory(
  traffic: PairTraffic,
  task: Case,
  budget: Budget,
): Promise<Sample> {
  const count = connectionsPossible(task.count ?? 1);
  if (count < 2) throw new BenchError('ERR_BENCH_USAGE', 'What a connection adds is seen from two on.');
  const alone = await resident(traffic, { ...task, count: 1 }, budget);
  const among = await resident(traffic, task, budget);
  const growth = Math.max(among.server - alone.server, among.client - alone.client);
  return { ...UNTOLD, median: growth / (count - 1) / BYTES_PER_KB };
}

function resident(traffic: PairTraffic, task: Case, budget: Budget): Promise<Both<number>> {
  return withPair(traffic, task, budget.timeoutMs, async (pair) => {
    await delay(budget.warmupMs + budget.measureMs);
    const { server, client } = await pair.progress();
    return { server: server.residentBytes, client: client.residentBytes };
  });
}
