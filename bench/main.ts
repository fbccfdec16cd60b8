/**
 * `npm run bench`: runs what the command line asks for, prints the tables on standard output and progress on standard error, and
 * writes the rows to a file. The exit code tells whether everything could be measured, not whether it was fast.
 */
import { writeFile } from 'node:fs/promises';
import { CommanderError } from 'commander';
import { killAllChildren, PROJECT_ROOT } from './children.js';
import { readCommandLine, type Plan } from './command-line.js';
import { readCommit, readEnvironment } from './environment.js';
import { asBenchError, prepare, runSuite, type Progress } from './harness.js';
import { BenchError, formatCase, MIB, unitOf, type Environment, type Row } from './measurement.js';
import { runSoak, type SoakProgress } from './soak.js';
import { formatFigure, formatRows, formatVerdicts } from './table.js';
import { judge } from './targets.js';

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

async function runRounds(plan: Plan, environment: Environment, commit: string | null): Promise<Outcome> {
  const { suite, rounds, budget } = plan;
  const options = { rounds, budget, environment, commit, onProgress: printProgress };
  const { rows, failed } = await runSuite(suite, options);
  const failures = failed.map(
    ({ subject, task, error }) => `${subject.name} ${formatCase(task)} ${task.mode}: ${error.message}`,
  );
  return { rows, failures };
}

async function runSoaks(
  { suite, soak: amounts }: Plan,
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

async function main(): Promise<number> {
  const plan = readCommandLine(process.argv.slice(2));
  const { name, subjects, site } = plan.suite;
  const commit = await readCommit(PROJECT_ROOT);
  await prepare(subjects);
  let environment: Environment;
  let outcomes: readonly Outcome[];
  try {
    environment = (await site?.open()) ?? readEnvironment();
    const rounds = await runRounds(plan, environment, commit);
    outcomes = [rounds, await runSoaks(plan, environment, commit)];
  } finally {
    await site?.close();
  }
  const rows = outcomes.flatMap((outcome) => outcome.rows);
  const failures = outcomes.flatMap((outcome) => outcome.failures);
  // The file first: a closed pipe must not cost the rows.
  if (plan.jsonFile !== undefined) await writeFile(plan.jsonFile, `${JSON.stringify(rows, null, 2)}\n`);
  const { cpuModel, cores, kernel, node, date } = environment;
  console.log(
    `${cpuModel}, ${cores} cores, ${kernel}, Node.js ${node}, ${date}, commit ${commit ?? 'unknown'}\n`,
  );
  console.log(`${formatRows(rows)}\n\n${formatVerdicts(judge(name, rows))}`);
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
  if (error.cause instanceof Error) console.error(error.cause.message);
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
