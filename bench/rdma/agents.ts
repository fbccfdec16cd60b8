/**
 * The agents (agent.ts) as the harness sees them: one that serves on host `a`, and one that drives on each host. They are started
 * at the first use and again after a failure, since nobody knows what that has left behind. It must not know any traffic.
 */
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { HostName, Job } from '../../ci/lab/lab.mjs';
import { withTimeout } from '../children.js';
import { asBenchError, BenchError, type Budget, type Case, type Environment } from '../measurement.js';
import type { Both, PairTraffic } from '../pair-processes.js';
import type { Report } from '../recorder.js';
import { clientHost, hostNames, spawnOn } from './hosts.js';

/** What the driving agent is told. */
export interface Order {
  readonly module: string;
  readonly task: Case;
  readonly budget: Budget;
  /** Where the serving agent is asked. */
  readonly control: string;
}

export type Answer =
  | { readonly kind: 'hello'; readonly control: string; readonly environment: Environment }
  | { readonly kind: 'reports'; readonly reports: Both<Report> }
  | { readonly kind: 'failed'; readonly message: string };

const AGENT_SCRIPT = fileURLToPath(new URL('./agent.js', import.meta.url));
/** Loading Node.js and this project from a network file system, emulated. */
const START_TIMEOUT_MS = 60_000;

class Agent {
  readonly #job: Job;
  readonly #host: HostName;
  readonly #pipe: string;
  readonly #answers: AsyncIterator<string>;
  /** Rejects when the agent ends. */
  readonly gone: Promise<never>;

  private constructor(host: HostName, pipe: string, job: Job) {
    this.#host = host;
    this.#pipe = pipe;
    this.#job = job;
    const lines = new PassThrough();
    lines.write(job.stdout);
    job.on('stdout', (text: string) => lines.write(text));
    this.#answers = createInterface({ input: lines })[Symbol.asyncIterator]();
    this.gone = job.result.then(({ stderr }) => {
      throw new BenchError('ERR_BENCH_PEER', `the agent on host ${host} ended: ${stderr.trim()}`);
    });
    this.gone.catch(() => undefined);
  }

  static async start(host: HostName): Promise<{ agent: Agent; hello: Extract<Answer, { kind: 'hello' }> }> {
    // A pipe with a name is the way in: a command on a host has no standard input of ours.
    const pipe = `/tmp/splitplane-bench-${randomUUID()}`;
    const job = await spawnOn(host, `mkfifo ${pipe} && exec node ${AGENT_SCRIPT} ${pipe} <>${pipe}`);
    const agent = new Agent(host, pipe, job);
    const hello = await withTimeout(agent.answer(), START_TIMEOUT_MS, `the agent on host ${host}`);
    if (hello.kind !== 'hello') throw new BenchError('ERR_BENCH_PEER', 'an agent began without a greeting.');
    return { agent, hello };
  }

  async order(order: Order): Promise<void> {
    // What JSON makes of an order holds no quote of a shell's: addresses, paths, numbers and names.
    const sending = await spawnOn(this.#host, `printf '%s\\n' '${JSON.stringify(order)}' >${this.#pipe}`);
    await sending.result;
  }

  async answer(): Promise<Answer> {
    const { value } = (await Promise.race([this.#answers.next(), this.gone])) as IteratorYieldResult<string>;
    return JSON.parse(value) as Answer;
  }

  stop(): void {
    this.#job.signal('SIGTERM');
  }
}

type Role = 'server' | HostName;
type Started = Awaited<ReturnType<typeof Agent.start>>;
const started = new Map<Role, Promise<Started>>();

function agentFor(role: Role): Promise<Started> {
  let agent = started.get(role);
  if (agent === undefined) {
    agent = Agent.start(role === 'server' ? 'a' : role);
    agent.catch(() => undefined);
    started.set(role, agent);
  }
  return agent;
}

/** Starts all agents at once, and tells on how many hosts, and what these are. Rejects with a BenchError. */
export async function startAgents(): Promise<{ hosts: number; environment: Environment }> {
  try {
    const names = await hostNames();
    const [{ hello }] = await Promise.all([agentFor('server'), ...names.map(agentFor)]);
    return { hosts: names.length, environment: hello.environment };
  } catch (error) {
    throw asBenchError(error);
  }
}

/** Keeps the traffic of a case going in two agents, and gives back what both recorded in the measured interval. */
export async function measureWithAgents(
  { name, module }: PairTraffic,
  task: Case,
  budget: Budget,
): Promise<Both<Report>> {
  const run = async () => {
    const [{ agent: server, hello }, { agent: client }] = await Promise.all([
      agentFor('server'),
      agentFor(clientHost(task)),
    ]);
    await client.order({ module, task, budget, control: hello.control });
    return Promise.race([client.answer(), server.gone]);
  };
  try {
    const answer = await withTimeout(run(), budget.timeoutMs, `${name} ${task.metric}`);
    if (answer.kind === 'reports') return answer.reports;
    throw new BenchError(
      'ERR_BENCH_PEER',
      `${name} failed: ${answer.kind === 'failed' ? answer.message : 'an agent started again'}`,
    );
  } catch (error) {
    stopAgents();
    throw error;
  }
}

export function stopAgents(): void {
  for (const agent of started.values())
    void agent.then(({ agent: each }) => each.stop()).catch(() => undefined);
  started.clear();
}
