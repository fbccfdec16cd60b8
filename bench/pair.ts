/**
 * The harness's side of a subject that lives in Node.js: it forks a server and a client, opens and closes the measured interval in
 * both, and turns their two reports into one sample. The traffic itself is the subject's; this file knows none. Each
 * measurement gets two new processes, so that no heap, socket or pool is inherited from the one before.
 */
import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { forkNode, kill, placement, requireTool, withTimeout } from './children.js';
import {
  BenchError,
  BYTES_PER_GB,
  payloadBytesPerOperation,
  type Budget,
  type Case,
  type Sample,
  type Subject,
  type SubjectName,
} from './measurement.js';
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

export type ToChild =
  | { readonly kind: 'serve'; readonly module: string; readonly task: Case }
  | { readonly kind: 'drive'; readonly module: string; readonly task: Case; readonly address: string }
  | { readonly kind: 'begin' }
  | { readonly kind: 'end' }
  | { readonly kind: 'stop' };

export type FromChild =
  | { readonly kind: 'ready'; readonly address: string }
  | { readonly kind: 'report'; readonly report: Report }
  | { readonly kind: 'failed'; readonly message: string };

export interface PairDefinition {
  readonly name: SubjectName;
  /** `import.meta.url` of the module that exports `traffic: Traffic`. */
  readonly module: string;
  readonly cases: readonly Case[];
  /** Copies per byte made inside the libraries, which the recorder cannot see. `null` where nobody has counted. */
  readonly libraryCopiesPerByte: number | null;
}

/** After `stop` a process may close its sockets for this long; then it is ended. */
const STOP_GRACE_MS = 1000;
const CHILD_SCRIPT = new URL('./pair-child.js', import.meta.url);

export function pairSubject(definition: PairDefinition): Subject {
  return {
    name: definition.name,
    cases: definition.cases,
    prepare: () => requireTool('taskset', 'util-linux'),
    measure: (task, budget) => measurePair(definition, task, budget),
  };
}

async function measurePair(definition: PairDefinition, task: Case, budget: Budget): Promise<Sample> {
  const { module, name } = definition;
  const cores = placement();
  const server = forkNode(CHILD_SCRIPT, cores.server);
  const client = forkNode(CHILD_SCRIPT, cores.client);
  const run = async (): Promise<readonly [Report, Report]> => {
    send(server, { kind: 'serve', module, task });
    const { address } = await receive(server, 'ready', name);
    // From here on either side may fail at any time; both are listened to until both have reported.
    const reports = Promise.all([receive(server, 'report', name), receive(client, 'report', name)]);
    const interval = async () => {
      send(client, { kind: 'drive', module, task, address });
      await delay(budget.warmupMs);
      for (const child of [server, client]) send(child, { kind: 'begin' });
      await delay(budget.measureMs);
      for (const child of [server, client]) send(child, { kind: 'end' });
    };
    const [[fromServer, fromClient]] = await Promise.all([reports, interval()]);
    return [fromServer.report, fromClient.report];
  };
  try {
    return toSample(definition, task, await withTimeout(run(), budget.timeoutMs, `${name} ${task.metric}`));
  } finally {
    await Promise.all([stop(client), stop(server)]);
  }
}

function toSample(definition: PairDefinition, task: Case, reports: readonly [Report, Report]): Sample {
  const [server, client] = reports;
  // The client makes the round trips; of a stream either side may be the receiver.
  const { roundTrips } = client;
  const receiver = roundTrips !== null || client.deliveredBytes >= server.deliveredBytes ? client : server;
  const payloadBytes =
    roundTrips === null ? receiver.deliveredBytes : roundTrips.count * payloadBytesPerOperation(task);
  if (payloadBytes === 0) {
    throw new BenchError('ERR_BENCH_PEER', `${definition.name} delivered nothing for ${task.metric}.`);
  }
  // The two intervals differ by the flight time of an IPC message, so rates are compared, not totals.
  const cpuPerSecond = server.cpuSeconds / server.seconds + client.cpuSeconds / client.seconds;
  const bytesPerSecond = payloadBytes / receiver.seconds;
  const copiedBytes = server.copiedBytes + client.copiedBytes;
  const common = {
    cpuSecondsPerGB: (cpuPerSecond / bytesPerSecond) * BYTES_PER_GB,
    copiesPerByte:
      definition.libraryCopiesPerByte === null
        ? null
        : definition.libraryCopiesPerByte + copiedBytes / payloadBytes,
    eventLoopDelayP99Ms: Math.max(server.eventLoopDelayP99Ms, client.eventLoopDelayP99Ms),
  };
  if (roundTrips !== null) {
    return { median: roundTrips.median, p99: roundTrips.p99, p999: roundTrips.p999, ...common };
  }
  const delivered = task.metric === 'message_rate' ? receiver.deliveredMessages : payloadBytes / BYTES_PER_GB;
  return { median: delivered / receiver.seconds, ...common };
}

function send(child: ChildProcess, message: ToChild): void {
  // A child that is gone makes `receive` reject; there is nothing to add here.
  if (child.connected) child.send(message, () => undefined);
}

function receive<K extends FromChild['kind']>(
  child: ChildProcess,
  kind: K,
  name: SubjectName,
): Promise<Extract<FromChild, { kind: K }>> {
  return new Promise((resolve, reject) => {
    const settle = (action: () => void) => {
      child.off('message', onMessage);
      child.off('exit', onExit);
      action();
    };
    const onMessage = (raw: unknown) => {
      const message = raw as FromChild;
      if (message.kind === 'failed') {
        settle(() => {
          reject(new BenchError('ERR_BENCH_PEER', `${name} failed: ${message.message}`));
        });
      } else if (message.kind === kind) {
        settle(() => {
          resolve(message as Extract<FromChild, { kind: K }>);
        });
      }
    };
    const onExit = (code: number | null, signal: string | null) => {
      settle(() => {
        reject(
          new BenchError('ERR_BENCH_PEER', `a process of ${name} ended early (${signal ?? `exit ${code}`}).`),
        );
      });
    };
    child.on('message', onMessage);
    child.on('exit', onExit);
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = new Promise((resolve) => child.once('exit', resolve));
    send(child, { kind: 'stop' });
    await Promise.race([exited, delay(STOP_GRACE_MS, undefined, { ref: false })]);
  }
  await kill(child);
}
