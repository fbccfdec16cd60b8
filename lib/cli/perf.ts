// `splitplane perf HOST`: how fast this host and that one are together.
import { Command, InvalidArgumentError, Option } from 'commander';
import { Client } from './client.js';
import { EXIT } from './failure.js';
import { addConnectingOptions, checkAddress, interruptible, type ConnectingOptions } from './options.js';
import { measure, type Budget, type Case, type Row } from './perf/measure.js';
import { METRICS, type Metric } from './perf/traffic.js';
import { formatSize, print, printJson, printTable } from './terminal.js';

const HELP = `
Metrics, all verified by CRC32C, with what they count:
  message_rtt   a message with a payload and its echo, one at a time             microseconds
  message_rate  messages one way, the payload as text in the body                messages a second
  push          writes into memory of the host, four in flight                   GB (1e9) a second
  pull          reads out of memory of the host, four in flight                  GB (1e9) a second
  read_rtt      one-sided reads, one at a time; its JavaScript is not involved   microseconds
  write_rtt     one-sided writes, one at a time                                  microseconds
p99 is what 99 % of the round trips stay below and, of rates, what 99 % of the windows of 100 ms reach.
CPU seconds are those of both processes; the event-loop delay is that of the later one and contains 1 ms of sampling.

Examples:
  splitplane perf 127.0.0.1
  splitplane perf 127.0.0.1:7350 --quick --only pull
  splitplane perf 10.0.0.2 --allow-insecure --poll adaptive --json > rows.jsonl`;

const K = 1024;
const M = 1024 * 1024;
const SIZES: Readonly<Record<Metric, { all: readonly number[]; quick: readonly number[] }>> = {
  message_rtt: { all: [64, 4 * K, 64 * K, M], quick: [64] },
  message_rate: { all: [64, K], quick: [64] },
  push: { all: [4 * K, 64 * K, M, 16 * M], quick: [M] },
  pull: { all: [4 * K, 64 * K, M, 16 * M], quick: [M] },
  read_rtt: { all: [64, 4 * K, 64 * K, M], quick: [64] },
  write_rtt: { all: [64, 4 * K, 64 * K, M], quick: [64] },
};
const BUDGET: Budget = { warmupMs: 300, measureMs: 2000 };
const QUICK_BUDGET: Budget = { warmupMs: 100, measureMs: 400 };

interface PerfOptions extends ConnectingOptions {
  readonly quick: boolean;
  readonly only: readonly Metric[];
}

export function perfCommand(): Command {
  const only = new Option('--only <metric>', 'measure this one; may be given several times')
    .argParser(addMetric)
    .default(METRICS, 'all');
  const command = new Command('perf')
    .description('measure latency, rates and throughput, over a sweep of sizes')
    .argument('<host>', 'where `splitplane serve` listens')
    .option('--quick', 'one size of each, and less time', false)
    .addOption(only);
  return addConnectingOptions(command, 'one JSON line per row').addHelpText('after', HELP).action(perf);
}

async function perf(host: string, options: PerfOptions): Promise<void> {
  checkAddress(host);
  await interruptible(
    options.json,
    async (signal, interruption) => {
      await measureAll(host, options, signal);
      process.exitCode = interruption.exitCode ?? EXIT.ok;
    },
    { withReader: true },
  );
}

/** Prints what was measured, also of what Ctrl-C has ended. */
async function measureAll(host: string, options: PerfOptions, signal: AbortSignal): Promise<void> {
  const { quick, only, json } = options;
  using client = await Client.connect(host, options, signal);
  const rows: Row[] = [];
  try {
    for (const task of cases(only, quick)) {
      const row = await measure(client, task, quick ? QUICK_BUDGET : BUDGET, signal);
      rows.push(row);
      if (json) printJson(row);
    }
    await client.close();
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (!json) {
    print(`${client.peerName} over ${client.connection.peer.transport}, poll ${options.poll}`);
    printTable(
      ['metric', 'size', 'median', 'p99', 'unit', 'CPU s/GB', 'copies/B', 'loop p99 ms'],
      rows.map(cells),
    );
  }
}

function cases(metrics: readonly Metric[], quick: boolean): Case[] {
  return METRICS.filter((metric) => metrics.includes(metric)).flatMap((metric) =>
    SIZES[metric][quick ? 'quick' : 'all'].map((size) => ({ metric, size })),
  );
}

function cells({
  metric,
  size,
  median,
  p99,
  unit,
  cpuSecondsPerGB,
  copiesPerByte,
  eventLoopDelayP99Ms,
}: Row): string[] {
  const digits = unit === '1/s' ? 0 : unit === 'us' ? 1 : 3;
  return [
    metric,
    formatSize(size),
    median.toFixed(digits),
    p99.toFixed(digits),
    unit,
    cpuSecondsPerGB.toFixed(2),
    copiesPerByte.toFixed(2),
    eventLoopDelayP99Ms.toFixed(2),
  ];
}

/** The first one replaces the default, which is all. */
function addMetric(text: string, previous: readonly Metric[]): readonly Metric[] {
  const metric = METRICS.find((known) => known === text);
  if (metric === undefined) throw new InvalidArgumentError(`It is one of ${METRICS.join(', ')}.`);
  return previous === METRICS ? [metric] : [...previous, metric];
}
