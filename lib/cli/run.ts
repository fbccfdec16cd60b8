// `splitplane run MANIFEST`: a runtime with the services that a manifest names, until it is told to stop. Prints what runs and
// where, and then what services and the runtime have to say. Knows nothing of how they are loaded.
import { once } from 'node:events';
import { Command } from 'commander';
import { TIMER_MS_MAX } from '../dataplane/operations.js';
import type { LogLevel } from '../runtime/kernel.js';
import { ManifestError, readManifest, type Manifest } from '../runtime/manifest.js';
import { messageOf } from '../runtime/describe.js';
import { Failure } from '../runtime/failure.js';
import { printableLine } from '../runtime/printable.js';
import { Runtime } from '../runtime/runtime.js';
import type { RuntimeSnapshot, ServiceSnapshot } from '../runtime/snapshot.js';
import { EXIT } from './failure.js';
import { Interruption, jsonOption } from './options.js';
import { problemsBehind, type FileProblem } from './runtime/manifest-check.js';
import { complain, print, printJson } from './terminal.js';

const HELP = `
The manifest is XML; docs/manifest.xsd says what it holds. Paths in it are relative to its folder.
A service that does not start is told and leaves the others alone; when none is left, the command ends with 1.
SIGINT or SIGTERM stops the services, the last one first, and ends with exit code 0. SIGHUP has the policy
read again.

Examples:
  splitplane run camera-host.xml
  splitplane run camera-host.xml --check
  splitplane run camera-host.xml --monitor
  splitplane run camera-host.xml --json | jq -c 'select(.level == "error")'`;

const MONITOR_DEFAULT = 'http://127.0.0.1:0';

/** How long what services left running may keep the process, after they were stopped. */
const LINGER_MS_MAX = 1000;

interface RunOptions {
  readonly check: boolean;
  /** Where the web page is served, or true for anywhere; left out: where the manifest says, if it does. */
  readonly monitor?: string | true | undefined;
  readonly json: boolean;
}

export function runCommand(): Command {
  return new Command('run')
    .description('run the services that a manifest names')
    .argument('<manifest>', 'the XML file')
    .option('--check', 'look for mistakes in the manifest, its policy and its modules; run nothing', false)
    .option('--monitor [http://host:port]', `serve a web page that shows the runtime; ${MONITOR_DEFAULT}`)
    .addOption(jsonOption('what runs, and each line of the log, as JSON'))
    .addHelpText('after', HELP)
    .action(run);
}

async function run(path: string, { json, check, monitor }: RunOptions): Promise<void> {
  const found = await readManifests(path, check);
  if ('problems' in found) {
    tellProblems(path, found.problems, json);
    return;
  }
  if (check) {
    tellOfNoProblem(path, found, json);
    return;
  }
  try {
    const listen = monitor === true ? MONITOR_DEFAULT : monitor;
    await runUntilTold(listen === undefined ? found : { ...found, monitor: { listen } }, json);
  } finally {
    setTimeout(() => process.exit(), LINGER_MS_MAX).unref();
  }
}

/** The manifest, or everything that is wrong with it; with `closely`, with what it names, too. */
async function readManifests(
  path: string,
  closely: boolean,
): Promise<Manifest | { readonly problems: readonly FileProblem[] }> {
  try {
    const manifest = await readManifest(path);
    const problems = closely ? await problemsBehind(manifest) : [];
    return problems.length === 0 ? manifest : { problems };
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    return { problems: error.problems.map((problem) => ({ file: path, ...problem })) };
  }
}

function tellProblems(path: string, problems: readonly FileProblem[], json: boolean): void {
  for (const { file, line, column, message } of problems) {
    if (json) printJson({ problem: { file, line, column, message } });
    else print(printableLine(`${file}:${line}:${column}: ${message}`));
  }
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  const message = `${path} cannot be run: ${count}. Correct what stands above.`;
  complain(new Failure('MANIFEST_INVALID', message, { path }), json);
  process.exitCode = EXIT.failed;
}

function tellOfNoProblem(path: string, { name, services }: Manifest, json: boolean): void {
  if (json) printJson({ manifest: path, name, services: services.map((service) => service.name) });
  else
    print(
      `${path} is right: ${name}, ${services.length === 1 ? '1 service' : `${services.length} services`}.`,
    );
}

async function runUntilTold(manifest: Manifest, json: boolean): Promise<void> {
  using interruption = new Interruption({ withReader: true });
  const log = new RunLog(json);
  await using runtime = await Runtime.start(manifest, { log: log.write });
  const stopReloading = reloadOnHangup(runtime, log);
  // A runtime without a network has nothing that would keep this process.
  const staying = setInterval(() => undefined, TIMER_MS_MAX);
  try {
    // Last: who reads this may send signals.
    tellWhatRuns(runtime, manifest, json);
    await untilTold(runtime, manifest, log, interruption.signal);
  } finally {
    clearInterval(staying);
    stopReloading();
  }
}

/** Settles when the signal aborts; rejects when no service is left. */
async function untilTold(
  runtime: Runtime,
  manifest: Manifest,
  log: RunLog,
  signal: AbortSignal,
): Promise<void> {
  const aborted = once(signal, 'abort');
  while (!signal.aborted) {
    if (allFailed(runtime.snapshot(), manifest)) {
      const message = `None of the services of ${manifest.source} runs (any more). The lines above say why.`;
      throw new Failure('INVALID_ARGUMENT', message);
    }
    // Whatever ends a service by itself is an error that is logged.
    await Promise.race([aborted, log.nextError()]);
  }
}

/** Whether there were services and none is left that could do anything. */
function allFailed({ services: running }: RuntimeSnapshot, { services }: Manifest): boolean {
  const failed = new Set(running.filter(({ state }) => state === 'failed').map(({ name }) => name));
  return services.length > 0 && services.every(({ name }) => failed.has(name));
}

function tellWhatRuns(runtime: Runtime, manifest: Manifest, json: boolean): void {
  const { monitorUrl: monitor } = runtime;
  const { name, prefix, services: all } = runtime.snapshot();
  // Without those that every runtime has.
  const named = new Set(manifest.services.map((service) => service.name));
  const services = all.filter((service) => named.has(service.name));
  const listening = runtime.listening.flatMap(({ addresses }) => addresses);
  if (json) {
    const running = services.map(({ uri, name: of, contract, state, problem }) => ({
      uri,
      name: of,
      contract,
      state,
      problem,
    }));
    printJson({ running: name, prefix, listening, monitor, pid: process.pid, services: running });
    return;
  }
  const where = listening.length === 0 ? 'listening nowhere' : `listening on ${listening.join(' and ')}`;
  print(`${name} runs as ${prefix}, ${where}`);
  for (const line of serviceLines(services)) print(line);
  if (monitor !== undefined) print(`The monitor is at ${monitor}`);
}

function serviceLines(services: readonly ServiceSnapshot[]): string[] {
  const width = Math.max(0, ...services.map(({ name }) => name.length));
  return services.map(({ name, state, contract, problem }) => {
    const what = problem === undefined ? contract : printableLine(problem);
    return `  ${name.padEnd(width)}  ${state.padEnd(8)}  ${what}`;
  });
}

/** Where the runtime and its services write. */
class RunLog {
  readonly #json: boolean;
  #waiting: (() => void)[] = [];

  constructor(json: boolean) {
    this.#json = json;
  }

  /** Settles when the next error has been written. */
  nextError(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  readonly write = (level: LogLevel, source: string, text: string): void => {
    const time = new Date().toISOString();
    if (this.#json) printJson({ time, level, source, text });
    // What a service says may hold what a peer said.
    else
      print(`${time} ${level} ${printableLine(source)}: ${text.split('\n').map(printableLine).join('\n  ')}`);
    if (level !== 'error') return;
    for (const resolve of this.#waiting) resolve();
    this.#waiting = [];
  };
}

/** SIGHUP has the policy read again. Answers how to stop that. */
function reloadOnHangup({ security }: Runtime, { write }: RunLog): () => void {
  const reload = (): void => {
    security.reload().then(
      () => {
        const says = security.off
          ? 'Security is off: there is no policy to read.'
          : 'The policy was read again.';
        write('info', 'security', says);
      },
      (error: unknown) => {
        write('error', 'security', `The policy in force stays: ${messageOf(error)}`);
      },
    );
  };
  process.on('SIGHUP', reload);
  return () => {
    process.off('SIGHUP', reload);
  };
}
