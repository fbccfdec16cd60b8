/**
 * What the user asked of the benchmark: reads the arguments and turns them into a suite with its rounds, budgets and amounts.
 * It must not run anything, and it never ends the process.
 */
import { Command, InvalidArgumentError, Option } from 'commander';
import { BenchError, BYTES_PER_GB, SUBJECT_NAMES, type Budget, type SubjectName } from './measurement.js';
import { SUITES, type Suite } from './suites.js';
import type { SuiteName } from './targets.js';

export interface SoakAmounts {
  readonly bytes: number;
  readonly messages: number;
  /** For each soak. */
  readonly timeoutMs: number;
}

export interface Plan {
  /** Only with the subjects and soaks that were asked for. */
  readonly suite: Suite;
  readonly rounds: number;
  readonly budget: Budget;
  readonly soak: SoakAmounts;
  /** Where the rows go. */
  readonly jsonFile: string | undefined;
}

type Preset = Pick<Plan, 'rounds' | 'budget' | 'soak'>;

interface Presets {
  readonly full: Preset;
  readonly quick: Preset;
}

const NO_SOAK = { bytes: 0, messages: 0, timeoutMs: 0 };

const PRESETS: Readonly<Record<SuiteName, Presets>> = {
  tcp: {
    full: {
      rounds: 5,
      budget: { warmupMs: 1000, measureMs: 1200, timeoutMs: 20_000 },
      soak: { bytes: 100 * BYTES_PER_GB, messages: 1_000_000, timeoutMs: 240_000 },
    },
    quick: {
      rounds: 1,
      budget: { warmupMs: 300, measureMs: 250, timeoutMs: 10_000 },
      soak: { bytes: 5 * BYTES_PER_GB, messages: 50_000, timeoutMs: 30_000 },
    },
  },
  runtime: {
    // Round trips are some ten thousand a second at most, and the code of both ends is optimised after as many.
    full: { rounds: 5, budget: { warmupMs: 3000, measureMs: 1000, timeoutMs: 60_000 }, soak: NO_SOAK },
    quick: { rounds: 1, budget: { warmupMs: 300, measureMs: 250, timeoutMs: 60_000 }, soak: NO_SOAK },
  },
  // In the laboratory a second is what elsewhere a twentieth is, and the start of a tool takes one.
  rdma: {
    full: { rounds: 3, budget: { warmupMs: 800, measureMs: 1500, timeoutMs: 90_000 }, soak: NO_SOAK },
    quick: { rounds: 1, budget: { warmupMs: 500, measureMs: 800, timeoutMs: 60_000 }, soak: NO_SOAK },
  },
};
const { soak: SOAK } = PRESETS.tcp.full;
const ROUNDS_MAX = 100;

const HELP_AFTER = `
Subjects run in two processes on separate halves of the cores, in interleaved rounds. The medians of one run can be compared with
each other; those of different runs cannot. Let nothing else run meanwhile. At the end of suite tcp splitplane alone moves
${SOAK.bytes / BYTES_PER_GB} GB and ${SOAK.messages.toLocaleString('en-US')} messages, and the growth of its resident memory is told.
Suite runtime measures services that talk within one runtime and between two, and many of them.
Suite rdma runs on the two emulated hosts of the laboratory, which it starts and ends; docs/RDMA.md says what its figures mean.

The file is an array of rows: suite, subject, mode, metric, size, hosts (suite rdma), transport, unit, median, p99, p999 (latencies),
cpuSecondsPerGB (user and system time of both processes), copiesPerByte (in user space), eventLoopDelayP99Ms, soak (what moved,
highest resident size), rounds, environment, commit. A GB is 1e9 bytes.

Exit codes: 0 all measured, 1 something could not be measured, 2 wrong usage, 130 interrupted.`;

interface Options {
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

/**
 * Reads `args` (without node and script). Throws commander's CommanderError, after printing what it has to say, where help was asked for
 * (exit code 0) or the arguments are wrong, and a BenchError where nothing is left to measure.
 */
export function readCommandLine(args: readonly string[]): Plan {
  const names = SUITES.map(({ name }) => name);
  const options = new Command('npm run bench --')
    .description('Measures splitplane beside its peers, in one run on one machine.')
    .addOption(new Option('--suite <name>', 'what to measure').choices(names).makeOptionMandatory())
    .option('--quick', 'one short round, to see that everything works')
    .option('--json <file>', 'write the rows to this file')
    .addOption(
      new Option(
        '--rounds <n>',
        `number of rounds (default: ${PRESETS.tcp.full.rounds}, of rdma ${PRESETS.rdma.full.rounds})`,
      ).argParser(parseRounds),
    )
    .addOption(
      new Option('--only <subjects>', 'only these subjects, separated by commas').argParser(parseSubjects),
    )
    .addHelpText('after', HELP_AFTER)
    .allowExcessArguments(false)
    .exitOverride()
    .parse(args, { from: 'user' })
    .opts<Options>();
  const suite = selectSuite(options);
  const { full, quick } = PRESETS[suite.name];
  const preset = options.quick === true ? quick : full;
  return {
    ...preset,
    suite,
    rounds: options.rounds ?? preset.rounds,
    jsonFile: options.json,
  };
}

function selectSuite({ suite: name, only }: Options): Suite {
  const isWanted = (subject: SubjectName) => only === undefined || only.includes(subject);
  const suite = SUITES.find((candidate) => candidate.name === name);
  const subjects = suite?.subjects.filter((subject) => isWanted(subject.name)) ?? [];
  if (suite === undefined || subjects.length === 0) {
    throw new BenchError('ERR_BENCH_USAGE', `Suite ${name} has none of these subjects; see --help.`);
  }
  return { ...suite, subjects, soaks: suite.soaks.filter(({ definition }) => isWanted(definition.name)) };
}
