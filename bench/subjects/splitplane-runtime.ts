/**
 * The subject `splitplane` of suite runtime: services that talk by messages, within a runtime, between two over TCP, and many of
 * them. What is measured of another process is compared with the network manager's own request (bench/peers/manager.ts).
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { forkNode, kill, placement, withTimeout } from '../children.js';
import {
  BenchError,
  MIB,
  UNTOLD,
  type Budget,
  type Case,
  type Sample,
  type Subject,
} from '../measurement.js';
import { pairSubject, type PairDefinition, type Traffic } from '../pair.js';
import type { Recorder } from '../recorder.js';
import { Bench } from '../runtime/contract.js';
import BenchService from '../runtime/service.js';
import { element, Envelope, type RegisteredBuffer } from '../../lib/index.js';
import { lend, Runtime } from '../../lib/runtime/index.js';

const SERVICES_SCRIPT = new URL('../runtime/services.js', import.meta.url);
/** Requests under way at once, from one sender. */
const REQUESTS_IN_FLIGHT = 16;
/** Requests between two turns of the event loop, in which the harness is heard. */
const REQUESTS_PER_TURN = 2000;
export const SUBSCRIBERS = 10_000;
export const SERVICES = 100_000;

const PAIR_CASES: readonly Case[] = [
  { metric: 'local_rate', size: 0, mode: 'event' },
  { metric: 'local_rate', size: 64 * MIB, mode: 'event' },
  { metric: 'routing_rate', size: 64, mode: 'event' },
  { metric: 'routing_rate', size: MIB, mode: 'event' },
  { metric: 'request_rtt', size: 64, mode: 'event' },
  { metric: 'process_rtt', size: 64, mode: 'event' },
  { metric: 'notify_rate', size: SUBSCRIBERS, mode: 'event' },
];
const SERVICES_CASES: readonly Case[] = [
  { metric: 'lookup', size: SERVICES, mode: 'event' },
  { metric: 'services_memory', size: SERVICES, mode: 'event' },
];

const definition: PairDefinition = {
  name: 'splitplane',
  module: import.meta.url,
  cases: PAIR_CASES,
  libraryCopiesPerByte: null,
};
const pair = pairSubject(definition);

export const splitplaneRuntimeSubject: Subject = {
  ...pair,
  cases: [...PAIR_CASES, ...SERVICES_CASES],
  measure: (task, budget) =>
    SERVICES_CASES.includes(task) ? measureServices(task, budget) : pair.measure(task, budget),
};

/** In a process of its own, since what is measured is its memory. */
async function measureServices({ metric, size: count }: Case, { timeoutMs }: Budget): Promise<Sample> {
  const child = forkNode(SERVICES_SCRIPT, placement().client, ['--expose-gc']);
  try {
    const told = once(child, 'message') as Promise<[{ readonly figure: number }]>;
    const ended = once(child, 'exit').then((): never => {
      throw new BenchError('ERR_BENCH_PEER', `the process of ${metric} ended early.`);
    });
    child.send({ metric, count });
    const [{ figure }] = await withTimeout(Promise.race([told, ended]), timeoutMs, metric);
    return { ...UNTOLD, median: figure };
  } finally {
    await kill(child);
  }
}

export const traffic: Traffic = {
  async serve(_task, _recorder, signal) {
    const runtime = await Runtime.start({
      security: { off: true },
      network: { listen: ['tcp://127.0.0.1:0'], allowInsecure: false },
    });
    signal.addEventListener('abort', () => void runtime.close());
    return await runtime.add(new BenchService(), { name: 'bench' });
  },

  async drive(task, uri, recorder, signal) {
    if (task.metric === 'process_rtt') {
      await askProcess(recorder, signal);
      return;
    }
    const network = task.metric === 'request_rtt' ? { listen: [], allowInsecure: false } : undefined;
    await using runtime = await Runtime.start({
      security: { off: true },
      ...(network === undefined ? {} : { network }),
    });
    switch (task.metric) {
      case 'request_rtt':
        await ask(runtime, uri, recorder, signal);
        break;
      case 'local_rate':
        await askMany(runtime, task, recorder, signal);
        break;
      case 'routing_rate':
        await route(runtime, task, recorder, signal);
        break;
      default:
        await notify(runtime, task, recorder, signal);
    }
  },
};

async function ask(runtime: Runtime, uri: string, recorder: Recorder, signal: AbortSignal): Promise<void> {
  const service = runtime.proxy(Bench, uri);
  for (let number = 0; !signal.aborted; number++) {
    const begin = performance.now();
    const answer = await service.ask({ number });
    if (answer.number !== number) throw new Error('the answer is to another request');
    recorder.roundTrip(begin);
  }
}

/** A service of this runtime that lives in a process of its own, on the other half of the cores. */
async function askProcess(recorder: Recorder, signal: AbortSignal): Promise<void> {
  const cores = placement(process.ppid);
  // What is started inherits where it may run.
  await moveTo(cores.server);
  const module = new URL('../runtime/service.js', import.meta.url).href;
  const entry = { name: 'bench', module, host: 'process', partners: {}, at: { line: 1, column: 1 } } as const;
  await using runtime = await Runtime.start();
  const uri = await runtime.load(entry);
  await moveTo(cores.client);
  await ask(runtime, uri, recorder, signal);
}

async function moveTo(cores: string): Promise<void> {
  await promisify(execFile)('taskset', ['-apc', cores, String(process.pid)]);
}

/** Request and answer between two services of one runtime; with a buffer it goes there and comes back. */
async function askMany(runtime: Runtime, task: Case, recorder: Recorder, signal: AbortSignal): Promise<void> {
  const service = runtime.proxy(Bench, await runtime.add(new BenchService(), { name: 'local' }));
  const buffers = task.size === 0 ? [] : [runtime.allocate(task.size)];
  const send = async (buffer: RegisteredBuffer | undefined): Promise<void> => {
    await (buffer === undefined
      ? service.ask({ number: 1 })
      : service.ask({ number: 1, data: lend(buffer) }));
  };
  await inTurns(() => send(buffers[0]), recorder, signal);
  for (const buffer of buffers) buffer.release();
}

/** The dispatcher's part alone: the body is there already, and nobody reads it. */
async function route(runtime: Runtime, task: Case, recorder: Recorder, signal: AbortSignal): Promise<void> {
  const uri = await runtime.add(new BenchService(), { name: 'local' });
  const body = element(Bench.uri, 'Unknown', 'x'.repeat(task.size));
  // A verb that the contract does not have is refused by the port, which has read the header by then and nothing else.
  const action = 'http://schemas.microsoft.com/xw/2004/10/dssp.html:ReplaceRequest';
  await inTurns(
    async () => {
      const answer = await runtime.client.send(Envelope.of({ to: uri, action, body }), []);
      if (answer.envelope.fault === undefined) throw new Error('the message was not refused');
    },
    recorder,
    signal,
  );
}

/** One publisher, many subscribers; counted is what their handlers get. Whatever was published has to be accounted for. */
async function notify(runtime: Runtime, task: Case, recorder: Recorder, signal: AbortSignal): Promise<void> {
  const publisher = new BenchService();
  const uri = await runtime.add(publisher, { name: 'publisher' });
  let told = 0;
  const changed = (): void => {
    told++;
    recorder.delivered(1);
  };
  for (let index = 0; index < task.size; index++) await runtime.subscribe(Bench, uri, { changed });
  for (let round = 1; !signal.aborted; round++) {
    publisher.publish('changed', { number: round });
    while (told < round * task.size) await turn();
  }
}

async function inTurns(step: () => Promise<void>, recorder: Recorder, signal: AbortSignal): Promise<void> {
  const senders = Array.from({ length: REQUESTS_IN_FLIGHT }, async () => {
    while (!signal.aborted) {
      for (let count = 0; count < REQUESTS_PER_TURN / REQUESTS_IN_FLIGHT; count++) {
        await step();
        recorder.delivered(1);
      }
      await turn();
    }
  });
  await Promise.all(senders);
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
