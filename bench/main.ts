/**
 * `npm run bench`: runs what the command line asks for, prints the tables on standard output and progress on standard error, and
 * writes the rows to a file. The exit code tells whether everything could be measured, not whether it was fast.
 */
import { CommanderError } from 'commander';
import { killAllChildren, PROJECT_ROOT } from './children.js';
import { readCommandLine, type SuitePlan } from './command-line.js';
import { readCommit, readEnvironment } from './environment.js';
import { prepare, runSuite, type Progress } from './harness.js';
import { judge } from './judge.js';
import {
  asBenchError,
  BenchError,
  formatCase,
  MIB,
  unitOf,
  type Environment,
  type Row,
} from './measurement.js';
import { checkOutputs, readRows, writeOutputs } from './outputs.js';
import { runSoak, type SoakProgress } from './soak.js';
import { formatFigure, formatRows, formatVerdicts } from './table.js';
import { TARGETS } from './targets.js';

const EXIT_INCOMPLETE = 1;
const EXIT_USAGE = 2;
const EXIT_SIGNAL = 128;

function printProgress({ round, done, total, subject, task, outcome }: Progress): void {
  const figure =
    outcome instanceof BenchError
      ? `FAILED (${outcome.code}): ${outcome.message}`
      : `${formatFigure(outcome.median, unitOf(task.metric))} ${unitOf(task.metric)}`;
  console.error(
    `[${done}/${total}] round ${round}: ${formatCase(task)} ${subject.name} ${task.mode}${task.checksum === false ? ', no checksum' : ''}: ${figure}`,
  );
}

function printSoakProgress({ soak, done, operations, residentBytes }: SoakProgress): void {
  const resident = [residentBytes.server, residentBytes.client].map((bytes) => (bytes / MIB).toFixed(1));
  console.error(
    `[${Math.min(100, Math.round((100 * done) / operations))} %] ${soak.metric} ${soak.definition.name}: ` +
      `${done} of ${operations}, resident ${resident.join(' and ')} MiB`,
  );
}

interface Outcome {
  readonly rows: readonly Row[];
  /** What could not be measured, one line each. */
  readonly failures: readonly string[];
}

async function runRounds(plan: SuitePlan, environment: Environment, commit: string | null): Promise<Outcome> {
  const { suite, rounds, budget } = plan;
  const options = { rounds, budget, environment, commit, onProgress: printProgress };
  const { rows, failed } = await runSuite(suite, options);
  const failures = failed.map(
    ({ subject, task, error }) => `${subject.name} ${formatCase(task)} ${task.mode}: ${error.message}`,
  );
  return { rows, failures };
}

async function runSoaks(
  { suite, soak: amounts }: SuitePlan,
  environment: Environment,
  commit: string | null,
): Promise<Outcome> {
  const rows: Row[] = [];
  const failures: string[] = [];
  for (const soak of suite.soaks) {
    const operations =
      soak.metric === 'soak_messages' ? amounts.messages : Math.ceil(amounts.bytes / soak.task.size);
    try {
      rows.push(
        await runSoak(soak, {
          suite: suite.name,
          transport: suite.transport,
          operations,
          timeoutMs: amounts.timeoutMs,
          environment,
          commit,
          onProgress: printSoakProgress,
        }),
      );
    } catch (error) {
      failures.push(`${soak.definition.name} ${soak.metric}: ${asBenchError(error).message}`);
    }
  }
  return { rows, failures };
}

/** What so many hosts can measure. */
function onHosts(plan: SuitePlan, count: number): SuitePlan {
  const subjects = plan.suite.subjects.map((subject) => ({
    ...subject,
    cases: subject.cases.filter(({ hosts = 1 }) => hosts <= count),
  }));
  return { ...plan, suite: { ...plan.suite, subjects } };
}

async function measure(plan: SuitePlan, commit: string | null): Promise<Outcome> {
  const { name, site } = plan.suite;
  try {
    const opened = await site?.open();
    const possible = opened === undefined ? plan : onHosts(plan, opened.hosts);
    const environment = opened?.environment ?? readEnvironment();
    const outcomes = [
      await runRounds(possible, environment, commit),
      await runSoaks(plan, environment, commit),
    ];
    return {
      rows: outcomes.flatMap(({ rows }) => rows),
      failures: outcomes.flatMap(({ failures }) => failures.map((failure) => `suite ${name}: ${failure}`)),
    };
  } finally {
    await site?.close();
  }
}

function print(name: SuitePlan['suite']['name'], rows: readonly Row[]): void {
  const [first] = rows;
  if (first === undefined) return;
  const { cpuModel, cores, kernel, node, date } = first.environment;
  console.log(
    `\nsuite ${name}: ${cpuModel}, ${cores} cores, ${kernel}, Node.js ${node}, ${date}, commit ${first.commit ?? 'unknown'}\n`,
  );
  console.log(`${formatRows(rows)}\n`);
  if (TARGETS[name].length > 0) console.log(formatVerdicts(judge(TARGETS[name], rows)));
}

async function main(): Promise<number> {
  const plan = readCommandLine(process.argv.slice(2));
  await checkOutputs(plan);
  const earlier = await readRows(plan.fromFiles);
  const commit = await readCommit(PROJECT_ROOT);
  await prepare(plan.suites.flatMap(({ suite }) => suite.subjects));
  const measured: Row[] = [];
  const failures: string[] = [];
  for (const suitePlan of plan.suites) {
    const outcome = await measure(suitePlan, commit);
    measured.push(...outcome.rows);
    failures.push(...outcome.failures);
    // After each suite, and before anything is printed: neither an interrupt nor a closed pipe must cost the rows.
    await writeOutputs([...earlier, ...measured], plan);
    print(suitePlan.suite.name, outcome.rows);
  }
  if (plan.suites.length === 0) await writeOutputs(earlier, plan);
  for (const failure of failures) console.error(`not measured: ${failure}`);
  return failures.length === 0 ? 0 : EXIT_INCOMPLETE;
}

function report(error: unknown): number {
  if (error instanceof AggregateError) {
    console.error(error.message);
    for (const each of error.errors) report(each);
    return EXIT_INCOMPLETE;
  }
  // Commander has said what there is to say.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (!(error instanceof BenchError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  if (error.cause instanceof Error && error.cause.message !== error.message)
    console.error(error.cause.message);
  return error.code === 'ERR_BENCH_USAGE' ? EXIT_USAGE : EXIT_INCOMPLETE;
}

for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
] as const) {
  process.once(signal, () => {
    killAllChildren();
    process.exit(EXIT_SIGNAL + number);
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  process.exitCode = report(error);
} finally {
  killAllChildren();
}
