/**
 * The harness's side of a subject that lives in Node.js: it opens and closes the measured interval in a server and a client
 * process, and turns their two reports into one sample. The traffic itself is the subject's; this file knows none. Each
 * measurement gets two new processes, so that no heap, socket or pool is inherited from the one before.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { firstCore, placement, requireTool, startTool, type Tool } from './children.js';
import { measureConnectionMemory } from './connections.js';
import { measureIdle } from './idle.js';
import {
  BenchError,
  BYTES_PER_GB,
  countsMessages,
  movesPayload,
  payloadBytesPerOperation,
  type Budget,
  type Case,
  type Sample,
  type Subject,
} from './measurement.js';
import { withPair, type Both, type PairTraffic } from './pair-processes.js';
import type { Recorder, Report } from './recorder.js';

/**
 * What a subject exports as `traffic`. Both functions run in processes of their own, and keep traffic of the given case going from
 * the time the client starts until `signal` aborts; they tell the recorder what arrives. They never look at the clock.
 */
export interface Traffic {
  /** Server process. Settles with the address for the client once that can connect; keeps serving afterwards. */
  serve(task: Case, recorder: Recorder, signal: AbortSignal): Promise<string>;
  /** Client process. Settles once `signal` has aborted and nothing is left to do; what it throws after that is ignored. */
  drive(task: Case, address: string, recorder: Recorder, signal: AbortSignal): Promise<void>;
}

/** In a measured process: the traffic that a subject's module exports. */
export async function loadTraffic(module: string): Promise<Traffic> {
  const loaded = (await import(module)) as { traffic: Traffic };
  return loaded.traffic;
}

export interface PairDefinition extends PairTraffic {
  readonly cases: readonly Case[];
  /** Copies per byte made inside the libraries, which the recorder cannot see. `null` where nobody has counted. */
  readonly libraryCopiesPerByte: number | null;
  /** Where that is not what the suite is about. */
  readonly transport?: string;
  readonly version?: () => Promise<string>;
}

const LONGER_MS = 20;

export function pairSubject(definition: PairDefinition): Subject {
  const { name, cases, transport, version } = definition;
  return {
    name,
    cases,
    ...(transport === undefined ? {} : { transport }),
    ...(version === undefined ? {} : { version }),
    prepare: () => requireTool('taskset', 'util-linux'),
    measure: async (task, budget) => {
      const neighbour = task.metric === 'contended_rtt' ? await startNeighbour() : undefined;
      try {
        if (task.metric === 'connections_memory') {
          return await measureConnectionMemory(definition, task, budget);
        }
        if (task.metric === 'idle_cpu') return await measureIdle(definition, task, budget);
        return await measurePair(definition, task, budget);
      } finally {
        await neighbour?.stop();
      }
    },
  };
}

function measurePair(definition: PairDefinition, task: Case, budget: Budget): Promise<Sample> {
  const { warmupMs, measureMs, timeoutMs } = budget;
  return withPair(definition, task, timeoutMs, async (pair) => {
    await delay(warmupMs);
    pair.begin();
    await delay(measureMs);
    // On a machine that is busy with other things a short interval may pass without anything.
    while (!(await pair.isFlowing())) await delay(LONGER_MS);
    return toSample(definition, task, await pair.end());
  });
}

/** A process that keeps one core busy, and stays on it. */
function startNeighbour(): Promise<Tool> {
  return startTool('sh', ['-c', 'while :; do :; done'], { cores: firstCore(placement().server) });
}

/** What the interval that two reports tell of amounts to. Throws a BenchError where nothing arrived. */
export function toSample(
  definition: Pick<PairDefinition, 'name' | 'libraryCopiesPerByte'>,
  task: Case,
  { server, client }: Both<Report>,
): Sample {
  // The client makes the round trips; of a stream either side may be the receiver.
  const { roundTrips } = client;
  const receiver = roundTrips !== null || client.deliveredBytes >= server.deliveredBytes ? client : server;
  const cpuPerSecond = server.cpuSeconds / server.seconds + client.cpuSeconds / client.seconds;
  const payloadBytes =
    roundTrips === null ? receiver.deliveredBytes : roundTrips.count * payloadBytesPerOperation(task);
  if (payloadBytes === 0) {
    throw new BenchError('ERR_BENCH_PEER', `${definition.name} delivered nothing for ${task.metric}.`);
  }
  // The two intervals differ by the flight time of an IPC message, so rates are compared, not totals.
  const bytesPerSecond = payloadBytes / receiver.deliverySeconds;
  const copiedBytes = server.copiedBytes + client.copiedBytes;
  const common = {
    cpuSecondsPerGB: movesPayload(task.metric) ? (cpuPerSecond / bytesPerSecond) * BYTES_PER_GB : null,
    copiesPerByte:
      definition.libraryCopiesPerByte === null
        ? null
        : definition.libraryCopiesPerByte + copiedBytes / payloadBytes,
    eventLoopDelayP99Ms: Math.max(server.eventLoopDelayP99Ms, client.eventLoopDelayP99Ms),
    residentMiB: Math.max(server.residentMiB, client.residentMiB),
  };
  if (roundTrips !== null) {
    return { median: roundTrips.median, p99: roundTrips.p99, p999: roundTrips.p999, ...common };
  }
  const delivered = countsMessages(task.metric) ? receiver.deliveredMessages : payloadBytes / BYTES_PER_GB;
  return { median: delivered / receiver.deliverySeconds, ...common };
}
