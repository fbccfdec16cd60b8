/**
 * The two processes of a pair as the harness sees them: it starts them with one case of traffic, asks them things over IPC, and
 * ends them. It knows neither the traffic nor what is measured. Whatever is awaited here rejects as soon as either process
 * fails or ends early.
 */
import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { forkNode, kill, placement, withTimeout } from './children.js';
import { BenchError, type Case, type SubjectName } from './measurement.js';
import type { ProcessProgress, Report } from './recorder.js';

export type ToChild =
  | { readonly kind: 'serve'; readonly module: string; readonly task: Case }
  | { readonly kind: 'drive'; readonly module: string; readonly task: Case; readonly address: string }
  | { readonly kind: 'progress' }
  | { readonly kind: 'begin' }
  | { readonly kind: 'end' }
  | { readonly kind: 'stop' };

export type FromChild =
  | { readonly kind: 'ready'; readonly address: string }
  | { readonly kind: 'progress'; readonly progress: ProcessProgress }
  | { readonly kind: 'report'; readonly report: Report }
  | { readonly kind: 'failed'; readonly message: string };

/** Which traffic runs: `module` is a URL that exports `traffic: Traffic`. */
export interface PairTraffic {
  readonly name: SubjectName;
  readonly module: string;
  /** It has threads that are to run beside each other, so its processes are not kept apart. */
  readonly spreads?: true;
}

/** One value of each process. A type and no interface, so that Object.values() knows what it gives. */
export type Both<T> = { readonly server: T; readonly client: T };

/**
 * V8 collects garbage eight seconds after a process was last busy, once, whatever is open in it. That belongs to starting a
 * process, and costs more than minutes of an idle connection.
 */
const IDLE_FLAGS = ['--no-memory-reducer'];
/** After `stop` a process may close its sockets for this long; then it is ended. */
const STOP_GRACE_MS = 1000;
/** How often two new processes are asked whether anything has arrived. */
const FLOWING_POLL_MS = 5;
const CHILD_SCRIPT = new URL('./pair-child.js', import.meta.url);

/**
 * Starts the pair, waits until its traffic flows, and runs `observe`, all within `timeoutMs`. Both processes are gone when the
 * promise settles. Rejects with a BenchError.
 */
export async function withPair<T>(
  traffic: PairTraffic,
  task: Case,
  timeoutMs: number,
  observe: (pair: Pair) => Promise<T>,
): Promise<T> {
  const pair = new Pair(traffic, task);
  const run = async () => {
    await pair.start();
    return observe(pair);
  };
  try {
    return await withTimeout(run(), timeoutMs, `${traffic.name} ${task.metric}`);
  } finally {
    await pair.stop();
  }
}

export class Pair {
  readonly #traffic: PairTraffic;
  readonly #task: Case;
  readonly #children: Both<ChildProcess>;
  readonly #failed: Promise<never>;

  constructor(traffic: PairTraffic, task: Case) {
    this.#traffic = traffic;
    this.#task = task;
    // Beside a busy neighbour the scheduler places both, as it does for users.
    const together = traffic.spreads === true || task.metric === 'contended_rtt';
    const { server, client } = placement();
    const all = `${server},${client}`;
    const cores = together ? { server: all, client: all } : { server, client };
    const flags = task.metric === 'idle_cpu' ? IDLE_FLAGS : [];
    this.#children = {
      server: forkNode(CHILD_SCRIPT, cores.server, flags),
      client: forkNode(CHILD_SCRIPT, cores.client, flags),
    };
    this.#failed = new Promise((_, reject) => {
      for (const child of Object.values(this.#children)) onFailure(child, traffic.name, reject);
    });
    // Who waits hears of it; when nobody does, both are being ended.
    this.#failed.catch(() => undefined);
  }

  /** Settles once something has arrived, so that loading code and connecting is no part of any warm-up. */
  async start(): Promise<void> {
    const { module } = this.#traffic;
    const { address } = await this.#ask('server', { kind: 'serve', module, task: this.#task }, 'ready');
    send(this.#children.client, { kind: 'drive', module, task: this.#task, address });
    while (!(await this.isFlowing())) await delay(FLOWING_POLL_MS);
  }

  /** Whether anything has arrived: in the measured interval, or before it since the beginning. */
  async isFlowing(): Promise<boolean> {
    return Object.values(await this.progress()).some(isFlowing);
  }

  async progress(): Promise<Both<ProcessProgress>> {
    const [server, client] = await Promise.all([
      this.#ask('server', { kind: 'progress' }, 'progress'),
      this.#ask('client', { kind: 'progress' }, 'progress'),
    ]);
    return { server: server.progress, client: client.progress };
  }

  processIds(): readonly number[] {
    return Object.values(this.#children).map(({ pid = 0 }) => pid);
  }

  /** Opens the measured interval in both. */
  begin(): void {
    for (const child of Object.values(this.#children)) send(child, { kind: 'begin' });
  }

  /** Closes it. */
  async end(): Promise<Both<Report>> {
    const [server, client] = await Promise.all([
      this.#ask('server', { kind: 'end' }, 'report'),
      this.#ask('client', { kind: 'end' }, 'report'),
    ]);
    return { server: server.report, client: client.report };
  }

  async stop(): Promise<void> {
    await Promise.all(Object.values(this.#children).map(stop));
  }

  async #ask<K extends FromChild['kind']>(
    side: keyof Both<unknown>,
    question: ToChild,
    kind: K,
  ): Promise<Extract<FromChild, { kind: K }>> {
    const child = this.#children[side];
    let onMessage: ((raw: unknown) => void) | undefined;
    const answer = new Promise<Extract<FromChild, { kind: K }>>((resolve) => {
      onMessage = (raw) => {
        const message = raw as FromChild;
        if (message.kind === kind) resolve(message as Extract<FromChild, { kind: K }>);
      };
      child.on('message', onMessage);
    });
    send(child, question);
    try {
      return await Promise.race([answer, this.#failed]);
    } finally {
      if (onMessage !== undefined) child.off('message', onMessage);
    }
  }
}

function isFlowing({ deliveredBytes, roundTripCount }: ProcessProgress): boolean {
  return deliveredBytes > 0 || roundTripCount > 0;
}

function onFailure(child: ChildProcess, name: SubjectName, reject: (error: BenchError) => void): void {
  child.on('message', (raw) => {
    const message = raw as FromChild;
    if (message.kind === 'failed') {
      reject(new BenchError('ERR_BENCH_PEER', `${name} failed: ${message.message}`));
    }
  });
  child.on('exit', (code, signal) => {
    const reason = signal ?? `exit ${code}`;
    reject(new BenchError('ERR_BENCH_PEER', `a process of ${name} ended early (${reason}).`));
  });
  child.on('error', (cause) => {
    reject(new BenchError('ERR_BENCH_PEER', `a process of ${name} could not be started.`, { cause }));
  });
}

function send(child: ChildProcess, message: ToChild): void {
  // A child that is gone has already failed the pair; there is nothing to add here.
  if (child.connected) child.send(message, () => undefined);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = new Promise((resolve) => child.once('exit', resolve));
    send(child, { kind: 'stop' });
    await Promise.race([exited, delay(STOP_GRACE_MS, undefined, { ref: false })]);
  }
  await kill(child);
}
