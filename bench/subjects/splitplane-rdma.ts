/**
 * The subject `splitplane` of the rdma suite: this project through its public API on the hosts' agents and, where JavaScript has no
 * part in what is measured, the transport alone in a native program (bench/native/pair.cc).
 */
import { compileNative, withTimeout } from '../children.js';
import { MIB, UNTOLD, type Budget, type Case, type Sample, type Subject } from '../measurement.js';
import { toSample } from '../pair.js';
import { measureWithAgents } from '../rdma/agents.js';
import { clientHost, startToolOn } from '../rdma/hosts.js';

const NAME = 'splitplane';
const MODULE = new URL('../rdma/traffic.js', import.meta.url).href;
const NATIVE_TESTS: Readonly<Partial<Record<Case['metric'], string>>> = {
  write_rtt: 'write',
  frame_rtt: 'frame',
};

type RoundTrips = Pick<Sample, 'median' | 'p99' | 'p999'>;

let program: Promise<string> | undefined;

async function measureNative(test: string, task: Case, budget: Budget): Promise<Sample> {
  program ??= compileNative('pair');
  const pair = await program;
  const server = await startToolOn('a', `${pair} rdma listen "$LAB_SELF:0"`);
  try {
    const [, address] = await withTimeout(server.printed(/^listening (.*)$/m), budget.timeoutMs, pair);
    const client = await startToolOn(
      clientHost(task),
      `${pair} rdma connect '${address}' ${test} ${task.size} ${budget.warmupMs} ${budget.measureMs}`,
    );
    try {
      const { stdout } = await withTimeout(client.result, budget.timeoutMs, `${pair} ${test}`);
      const { median, p99, p999 } = JSON.parse(stdout.split('\n', 1)[0] ?? '') as Required<RoundTrips>;
      return { ...UNTOLD, median, p99, p999 };
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
}

export const splitplaneRdmaSubject: Subject = {
  name: NAME,
  cases: [
    ...([2, 1] as const).flatMap((hosts): Case[] => [
      { metric: 'push', size: MIB, mode: 'event', hosts },
      { metric: 'push', size: 16 * MIB, mode: 'event', hosts },
      { metric: 'pull', size: MIB, mode: 'event', hosts },
      { metric: 'pull', size: 16 * MIB, mode: 'event', hosts },
      { metric: 'push', size: MIB, mode: 'event', hosts, checksum: false },
      { metric: 'push', size: 16 * MIB, mode: 'event', hosts, checksum: false },
      { metric: 'pull', size: MIB, mode: 'event', hosts, checksum: false },
      { metric: 'pull', size: 16 * MIB, mode: 'event', hosts, checksum: false },
    ]),
    { metric: 'write_rtt', size: 64, mode: 'busy', hosts: 2 },
    // The three parts of a round trip of a message: what perftest measures, this without it, and that of JavaScript without this.
    { metric: 'frame_rtt', size: 64, mode: 'busy', hosts: 2 },
    { metric: 'message_rtt', size: 64, mode: 'busy', hosts: 2 },
    { metric: 'message_rtt', size: 64, mode: 'event', hosts: 2 },
  ],
  prepare: async () => {
    program ??= compileNative('pair');
    await program;
  },
  measure: async (task, budget) => {
    const test = NATIVE_TESTS[task.metric];
    if (test !== undefined) return measureNative(test, task, budget);
    const reports = await measureWithAgents({ name: NAME, module: MODULE }, task, budget);
    // The engine counts its own copies, and the recorder is told.
    return toSample({ name: NAME, libraryCopiesPerByte: 0 }, task, reports);
  },
};
