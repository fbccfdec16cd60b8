/**
 * The peer `iperf3`: one stream over loopback with writes of 1 MiB, forward as `push`, reversed as `pull`. It sends one hot
 * buffer again and again, and delivers to nobody.
 */
import { freePort, placement, requireTool, startTool, toolVersion, withTimeout } from '../children.js';
import {
  BenchError,
  BYTES_PER_GB,
  MIB,
  type Budget,
  type Case,
  type Sample,
  type Subject,
} from '../measurement.js';

/** What is read of `iperf3 --json`. Utilization is CPU time over elapsed time, in percent, for each of the two processes. */
interface Answer {
  readonly error?: string;
  readonly end: {
    readonly sum_received: {
      readonly bytes: number;
      readonly seconds: number;
      readonly bits_per_second: number;
    };
    readonly cpu_utilization_percent: { readonly host_total: number; readonly remote_total: number };
  };
}

async function measure(task: Case, budget: Budget): Promise<Sample> {
  const cores = placement();
  const port = String(await freePort());
  const server = await startTool(
    'iperf3',
    ['--server', '--one-off', '--bind', '127.0.0.1', '--port', port, '--forceflush'],
    { cores: cores.server },
  );
  try {
    await withTimeout(server.printed('Server listening'), budget.timeoutMs, 'the iperf3 server');
    const client = await startTool(
      'iperf3',
      [
        ...['--client', '127.0.0.1', '--port', port, '--length', String(task.size), '--json'],
        // It takes whole seconds only.
        ...['--time', String(Math.max(1, Math.round(budget.measureMs / 1000)))],
        ...(task.metric === 'pull' ? ['--reverse'] : []),
      ],
      { cores: cores.client },
    );
    try {
      const { stdout } = await withTimeout(client.result, budget.timeoutMs, `iperf3 ${task.metric}`);
      return toSample(JSON.parse(stdout) as Answer);
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
}

function toSample(answer: Answer): Sample {
  if (answer.error !== undefined) throw new BenchError('ERR_BENCH_PEER', `iperf3 failed: ${answer.error}`);
  const { bits_per_second: bitsPerSecond } = answer.end.sum_received;
  const { host_total: host, remote_total: remote } = answer.end.cpu_utilization_percent;
  const gigabytesPerSecond = bitsPerSecond / 8 / BYTES_PER_GB;
  return {
    median: gigabytesPerSecond,
    cpuSecondsPerGB: (host + remote) / 100 / gigabytesPerSecond,
    copiesPerByte: 0,
    eventLoopDelayP99Ms: null,
    residentMiB: null,
  };
}

export const iperf3Subject: Subject = {
  name: 'iperf3',
  cases: [
    { metric: 'push', size: MIB, mode: 'event' },
    { metric: 'pull', size: MIB, mode: 'event' },
  ],
  version: () => toolVersion('iperf3', ['--version'], /^iperf ([\d.]+)/),
  prepare: () => requireTool('iperf3', 'iperf3'),
  measure,
};
