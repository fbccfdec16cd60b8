/**
 * The hosts on which the rdma suite runs, and how a tool is started there: those that SPLITPLANE_RDMA names, or else the laboratory
 * of ci/lab, started at the first use and ended by `closeHosts`. It must not know any subject.
 */
import { leashProgram, parseUsage, PROJECT_ROOT, type Tool } from '../children.js';
import { BenchError, type Case } from '../measurement.js';
import type * as laboratory from '../../ci/lab/lab.mjs';
import type { CommandOptions, HostName, Hosts, Job } from '../../ci/lab/lab.mjs';

/** Where the client of a case runs. The server is always on `a`. */
export function clientHost({ hosts }: Case): HostName {
  return hosts === 2 ? 'b' : 'a';
}

/** The server's address as a client's shell knows it. */
export function serverAddress({ hosts }: Case): string {
  return hosts === 2 ? '"$LAB_PEER"' : '"$LAB_SELF"';
}

/** Of the laboratory: longer than a suite takes. A laboratory that has been forgotten ends by then. */
const LIFETIME_SECONDS = 1800;

let hosts: Promise<Hosts> | undefined;

async function start(): Promise<Hosts> {
  // At run time this file is in dist/, and the laboratory is not.
  const { Lab } = (await import(`${PROJECT_ROOT}ci/lab/lab.mjs`)) as typeof laboratory;
  // What is built here is seen there, but only if it is there first.
  await leashProgram();
  return Lab.open({ lifetimeSeconds: LIFETIME_SECONDS });
}

function open(): Promise<Hosts> {
  return (hosts ??= start());
}

export async function hostNames(): Promise<readonly HostName[]> {
  return (await open()).hosts;
}

export async function spawnOn(host: HostName, line: string, options?: CommandOptions): Promise<Job> {
  return (await open()).spawn(host, line, options);
}

export async function closeHosts(): Promise<void> {
  const opened = hosts;
  hosts = undefined;
  // One that did not start has ended itself, and was heard of by whoever wanted it.
  await opened?.then(
    (running) => running.stop(),
    () => undefined,
  );
}

export interface HostTool extends Pick<Tool, 'result' | 'stop'> {
  /** Settles with the match once the standard output so far matches. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
}

/** Starts a tool, `line` for a shell, on a host. The caller awaits `result` or calls `stop()`; doing both is fine. */
export async function startToolOn(host: HostName, line: string): Promise<HostTool> {
  const leash = await leashProgram();
  const job = await spawnOn(host, `exec ${leash} ${line} 3>&1`);
  const name = line.split(' ', 1)[0] ?? line;
  const result = job.result.then(({ code, stdout, stderr }) => {
    // What the leash tells comes last.
    const usage = parseUsage(stdout);
    if (code === 0 && usage !== undefined) return { stdout, ...usage };
    const said = (stderr || stdout).trim().split('\n').slice(-5).join(' ') || 'it said nothing';
    throw new BenchError('ERR_BENCH_PEER', `${name} failed on host ${host}: ${said}`);
  });
  result.catch(() => undefined);
  return {
    result,
    printed: (pattern) => job.until(pattern),
    stop: async () => {
      job.signal('SIGTERM');
      await result.catch(() => undefined);
    },
  };
}
