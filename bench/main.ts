/**
 * `npm run bench`: reads the command line, runs a suite, prints the tables on standard output and progress on standard error, and
 * writes the rows to a file. The exit code tells whether everything could be measured, not whether it was fast.
 */
import { writeFile } from 'node:fs/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { killAllChildren, PROJECT_ROOT } from './children.js';
import { readCommit, readEnvironment } from './environment.js';
import { prepare, runSuite, type Progress } from './harness.js';
import {
  BenchError,
  formatSize,
  SUBJECT_NAMES,
  unitOf,
  type Budget,
  type SubjectName,
} from './measurement.js';
import { SUITES, type Suite } from './suites.js';
import { formatFigure, formatRows, formatVerdicts } from './table.js';
import { judge } from './targets.js';

const FULL: { readonly rounds: number; readonly budget: Budget } = {
  rounds: 5,
  budget: { warmupMs: 300, measureMs: 1200, timeoutMs: 20_000 },
};
const QUICK: typeof FULL = { rounds: 2, budget: { warmupMs: 100, measureMs: 250, timeoutMs: 10_000 } };
const ROUNDS_MAX = 100;

const EXIT_INCOMPLETE = 1;
const EXIT_USAGE = 2;
const EXIT_SIGNAL = 128;

const HELP_AFTER = `
Subjects run in two processes on separate halves of the cores, in interleaved rounds. The medians of one run can be compared with
each other; those of different runs cannot. Let nothing else run meanwhile.

The file is an array of rows: suite, subject, mode, metric, size, transport, unit, median, p99, p999 (latencies),
cpuSecondsPerGB (user and system time of both processes), copiesPerByte (in user space), eventLoopDelayP99Ms, rounds,
environment, commit. A GB is 1e9 bytes.

Exit codes: 0 all measured, 1 something could not be measured, 2 wrong usage, 130 interrupted.`;

interface CommandLine {
  readonly suite: string;
  readonly quick?: true;
  readonly json?: string;
  readonly rounds?: number;
  readonly only?: readonly SubjectName[];
}

function parseRounds(text: string): number {
  const rounds = Number(text);
  if (Number.isInteger(rounds) && rounds >= 1 && rounds <= ROUNDS_MAX) return rounds;
  throw new InvalidArgumentError(`Give a whole number from 1 to ${ROUNDS_MAX}.`);
}

function parseSubjects(text: string): readonly SubjectName[] {
  return text.split(',').map((name) => {
    const known = SUBJECT_NAMES.find((subject) => subject === name.trim());
    if (known === undefined) throw new InvalidArgumentError(`Choose from ${SUBJECT_NAMES.join(', ')}.`);
    return known;
  });
}

function readCommandLine(): CommandLine {
  const names = SUITES.map(({ name }) => name);
  return new Command('npm run bench --')
    .description('Measures splitplane beside its peers, in one run on one machine.')
    .addOption(new Option('--suite <name>', 'what to measure').choices(names).makeOptionMandatory())
    .option('--quick', `${QUICK.rounds} short rounds, to see that everything works`)
    .option('--json <file>', 'write the rows to this file')
    .addOption(
      new Option('--rounds <n>', `number of rounds (default: ${FULL.rounds})`).argParser(parseRounds),
    )
    .addOption(
      new Option('--only <subjects>', 'only these subjects, separated by commas').argParser(parseSubjects),
    )
    .addHelpText('after', HELP_AFTER)
    .allowExcessArguments(false)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : EXIT_USAGE))
    .parse()
    .opts<CommandLine>();
}

function selectSuite({ suite: name, only }: CommandLine): Suite {
  const suite = SUITES.find((candidate) => candidate.name === name);
  const subjects =
    suite?.subjects.filter((subject) => only === undefined || only.includes(subject.name)) ?? [];
  if (suite === undefined || subjects.length === 0) {
    throw new BenchError('ERR_BENCH_USAGE', `Suite ${name} has none of these subjects; see --help.`);
  }
  return { ...suite, subjects };
}

function printProgress({ round, done, total, subject, task, outcome }: Progress): void {
  const figure =
    outcome instanceof BenchError
      ? `FAILED (${outcome.code}): ${outcome.message}`
      : `${formatFigure(outcome.median, unitOf(task.metric))} ${unitOf(task.metric)}`;
  console.error(
    `[${done}/${total}] round ${round}: ${task.metric} ${formatSize(task.size)} ${subject.name} ${task.mode}: ${figure}`,
  );
}

async function main(): Promise<number> {
  const commandLine = readCommandLine();
  const suite = selectSuite(commandLine);
  const preset = commandLine.quick === true ? QUICK : FULL;
  const environment = readEnvironment();
  const commit = await readCommit(PROJECT_ROOT);
  await prepare(suite.subjects);
  const { rows, failed } = await runSuite(suite, {
    rounds: commandLine.rounds ?? preset.rounds,
    budget: preset.budget,
    environment,
    commit,
    onProgress: printProgress,
  });
  // The file first: a closed pipe must not cost the rows.
  if (commandLine.json !== undefined) await writeFile(commandLine.json, `${JSON.stringify(rows, null, 2)}\n`);
  const { cpuModel, cores, kernel, node, date } = environment;
  console.log(
    `${cpuModel}, ${cores} cores, ${kernel}, Node.js ${node}, ${date}, commit ${commit ?? 'unknown'}\n`,
  );
  console.log(`${formatRows(rows)}\n\n${formatVerdicts(judge(rows))}`);
  for (const { subject, task, error } of failed) {
    console.error(
      `not measured: ${subject.name} ${task.metric} ${formatSize(task.size)} ${task.mode}: ${error.message}`,
    );
  }
  return failed.length === 0 ? 0 : EXIT_INCOMPLETE;
}

function report(error: unknown): number {
  if (error instanceof AggregateError) {
    console.error(error.message);
    for (const each of error.errors) report(each);
    return EXIT_INCOMPLETE;
  }
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
