/**
 * The program that runs on each host of the rdma suite for as long as the suite: it gives a subject's traffic a process, case after case,
 * because starting one takes seconds on an emulated machine. Orders come as lines on standard input and are answered as
 * lines on standard output; on the other end is agents.ts. The agent that drives asks the one that serves over a socket of
 * their own, so that nothing else runs while they measure. It must not know the traffic.
 */
import { once } from 'node:events';
import { unlinkSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { readEnvironment } from '../environment.js';
import { loadTraffic } from '../pair.js';
import type { Both, FromChild, ToChild } from '../pair-processes.js';
import { Recorder, type RecorderOptions, type Report } from '../recorder.js';
import type { Answer, Order } from './agents.js';

const PROGRESS_POLL_MS = 20;
/** An interval is open for as long as it was asked to be, and until so many transfers or round trips have ended in it. */
const OPERATIONS_MIN = 8;
/** Of messages, made by this process so far. */
let roundTrips = 0;
const RECORDING: RecorderOptions = {
  // The loop of an emulated machine would do little else than wake up each millisecond.
  loopResolutionMs: 10,
  alignsToDeliveries: true,
};

/** What is cut off complains later; nobody waits for it any more. */
let current = new AbortController();

function tell(answer: Answer): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Serves one case, from the first line of a control connection to its end. */
function serve(socket: Socket): void {
  const recorder = new Recorder(RECORDING);
  const stopped = new AbortController();
  current = stopped;
  const reply = (message: FromChild) => socket.write(`${JSON.stringify(message)}\n`);
  const obey = async (message: ToChild) => {
    if (message.kind === 'serve') {
      const traffic = await loadTraffic(message.module);
      reply({ kind: 'ready', address: await traffic.serve(message.task, recorder, stopped.signal) });
    } else if (message.kind === 'progress') {
      reply({ kind: 'progress', progress: recorder.progress() });
    } else if (message.kind === 'begin') {
      recorder.begin();
    } else if (message.kind === 'end') {
      reply({ kind: 'report', report: recorder.end() });
    }
  };
  createInterface({ input: socket }).on('line', (line) => {
    obey(JSON.parse(line) as ToChild).catch((error: unknown) =>
      reply({ kind: 'failed', message: textOf(error) }),
    );
  });
  socket.setNoDelay().on('error', () => undefined);
  socket.once('close', () => {
    stopped.abort();
  });
}

/** The serving agent as the driving one sees it. */
class Control {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  static async open(address: string): Promise<Control> {
    const colon = address.lastIndexOf(':');
    const socket = connect(Number(address.slice(colon + 1)), address.slice(0, colon));
    await once(socket, 'connect');
    socket.setNoDelay().on('error', () => undefined);
    return new Control(socket);
  }

  send(message: ToChild): void {
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  async ask<K extends FromChild['kind']>(
    question: ToChild,
    kind: K,
  ): Promise<Extract<FromChild, { kind: K }>> {
    this.send(question);
    const { done, value } = (await this.#lines.next()) as IteratorResult<string, undefined>;
    if (done === true) throw new Error('the serving process has gone');
    const answer = JSON.parse(value) as FromChild;
    if (answer.kind === 'failed') throw new Error(answer.message);
    if (answer.kind !== kind) throw new Error(`the serving process answered ${answer.kind}, not ${kind}`);
    return answer as Extract<FromChild, { kind: K }>;
  }

  close(): void {
    this.#socket.destroy();
  }
}

async function observe(control: Control, recorder: Recorder, { task, budget }: Order): Promise<Both<Report>> {
  const untilEnded = async (operations: number) => {
    for (;;) {
      const { progress } = await control.ask({ kind: 'progress' }, 'progress');
      const both = [progress, recorder.progress()];
      if (both.some((each) => Math.max(each.deliveredMessages, each.roundTripCount) >= operations)) return;
      await delay(PROGRESS_POLL_MS);
    }
  };
  const warm = task.metric === 'message_rtt' ? (budget.warmupRoundTrips ?? 0) - roundTrips : 1;
  await untilEnded(Math.max(1, warm));
  await delay(budget.warmupMs);
  roundTrips += recorder.progress().roundTripCount;
  control.send({ kind: 'begin' });
  recorder.begin();
  await delay(budget.measureMs);
  await untilEnded(OPERATIONS_MIN);
  const server = control.ask({ kind: 'end' }, 'report');
  const client = recorder.end();
  return { server: (await server).report, client };
}

async function drive(order: Order): Promise<Both<Report>> {
  const { module, task } = order;
  const recorder = new Recorder(RECORDING);
  const stopped = new AbortController();
  current = stopped;
  const control = await Control.open(order.control);
  try {
    const { address } = await control.ask({ kind: 'serve', module, task }, 'ready');
    const traffic = await loadTraffic(module);
    const driving = traffic.drive(task, address, recorder, stopped.signal).then(() => {
      throw new Error('the traffic ended before it was told to');
    });
    return await Promise.race([observe(control, recorder, order), driving]);
  } finally {
    stopped.abort();
    control.close();
  }
}

async function obey(order: Order): Promise<void> {
  try {
    tell({ kind: 'reports', reports: await drive(order) });
  } catch (error) {
    tell({ kind: 'failed', message: textOf(error) });
  }
}

const [pipe = ''] = process.argv.slice(2);
process.once('exit', () => {
  unlinkSync(pipe);
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
process.on('uncaughtException', (error) => {
  if (current.signal.aborted) return;
  console.error(error.message);
  process.exit(1);
});

const server = createServer(serve);
server.listen(0, process.env['LAB_SELF']);
await once(server, 'listening');
const { address, port } = server.address() as AddressInfo;
createInterface({ input: process.stdin }).on('line', (line) => void obey(JSON.parse(line) as Order));
tell({ kind: 'hello', control: `${address}:${port}`, environment: readEnvironment() });
