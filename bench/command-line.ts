/**
 * What the user asked of the benchmark: reads the arguments and turns them into a suite with its rounds, budgets and amounts.
 * It must not run anything, and it never ends the process.
 */
import { Command, InvalidArgumentError, Option } from 'commander';
import {
  BenchError,
  BYTES_PER_GB,
  MIB,
  SUBJECT_NAMES,
  type Budget,
  type Case,
  type Subject,
  type SubjectName,
} from './measurement.js';
import { SUITES, type Suite } from './suites.js';
import { SUITE_NAMES, type SuiteName } from './targets.js';

export interface SoakAmounts {
  readonly bytes: number;
  readonly messages: number;
  /** For each soak. */
  readonly timeoutMs: number;
}

/** One suite to run. */
export interface SuitePlan {
  /** Only with the subjects, cases and soaks that were asked for. */
  readonly suite: Suite;
  readonly rounds: number;
  readonly budget: Budget;
  readonly soak: SoakAmounts;
}

/** Where the rows go, beside standard output. */
export interface Outputs {
  readonly jsonFile: string | undefined;
  readonly reportFile: string | undefined;
  readonly markdownFile: string | undefined;
}

export interface Plan extends Outputs {
  /** None where rows of earlier runs are only drawn. */
  readonly suites: readonly SuitePlan[];
  /** Files of rows that join those of the run. */
  readonly fromFiles: readonly string[];
}

type Preset = Omit<SuitePlan, 'suite'>;

interface Presets {
  readonly full: Preset;
  readonly quick: Preset;
}

const NO_SOAK = { bytes: 0, messages: 0, timeoutMs: 0 };

const PRESETS: Readonly<Record<SuiteName, Presets>> = {
  tcp: {
    // In the first second of a process V8 compiles much of it, on the core that is measured.
    full: {
      rounds: 3,
      budget: { warmupMs: 1000, measureMs: 700, timeoutMs: 60_000 },
      soak: { bytes: 100 * BYTES_PER_GB, messages: 1_000_000, timeoutMs: 240_000 },
    },
    quick: {
      rounds: 1,
      budget: { warmupMs: 100, measureMs: 200, timeoutMs: 60_000 },
      soak: { bytes: 2 * BYTES_PER_GB, messages: 20_000, timeoutMs: 120_000 },
    },
  },
  shm: {
    full: { rounds: 3, budget: { warmupMs: 1000, measureMs: 700, timeoutMs: 60_000 }, soak: NO_SOAK },
    quick: { rounds: 1, budget: { warmupMs: 100, measureMs: 200, timeoutMs: 60_000 }, soak: NO_SOAK },
  },
  serializer: {
    full: { rounds: 3, budget: { warmupMs: 300, measureMs: 1000, timeoutMs: 60_000 }, soak: NO_SOAK },
    quick: { rounds: 1, budget: { warmupMs: 20, measureMs: 50, timeoutMs: 60_000 }, soak: NO_SOAK },
  },
  runtime: {
    // Round trips are some ten thousand a second at most, and the code of both ends is optimised after as many.
    full: { rounds: 3, budget: { warmupMs: 3000, measureMs: 1000, timeoutMs: 60_000 }, soak: NO_SOAK },
    quick: { rounds: 1, budget: { warmupMs: 300, measureMs: 250, timeoutMs: 60_000 }, soak: NO_SOAK },
  },
  // In the laboratory a second is what elsewhere a twentieth is, and the start of a tool takes one. V8 compiles what has run often
  // enough: a message took 10 ms at the start of a process there, 3.5 ms after 3,000 of them, and as much from there on.
  rdma: {
    full: {
      rounds: 3,
      budget: { warmupMs: 800, warmupRoundTrips: 4000, measureMs: 1500, timeoutMs: 180_000 },
      soak: NO_SOAK,
    },
    quick: { rounds: 1, budget: { warmupMs: 500, measureMs: 800, timeoutMs: 60_000 }, soak: NO_SOAK },
  },
};
const { soak: SOAK } = PRESETS.tcp.full;
const ROUNDS_MAX = 100;
/** Connecting more often takes longer than the rest of a quick run. */
const QUICK_COUNT_MAX = 1000;
/** In the laboratory tools need up to a minute for a few times 16 MiB, and what runs is what runs for one. */
const QUICK_SIZE_MAX: Readonly<Partial<Record<SuiteName, number>>> = { rdma: MIB };

const HELP_AFTER = `
Suites: tcp and shm measure two processes on this host, over TCP and through shared memory; runtime, services that talk within one
runtime and between two, and many of them; serializer, codecs, tags and the ring of events by themselves; rdma, the hosts that
SPLITPLANE_RDMA names (localhost/10.1.0.1,node2/10.1.0.2), or else the two emulated ones of the laboratory, which it starts and ends
(docs/RDMA.md says how to name hosts, and what the figures mean).

Subjects run in two processes on separate halves of the cores, in interleaved rounds. The medians of one run can be compared with
each other; those of different runs cannot. Let nothing else run meanwhile. At the end of suite tcp splitplane alone moves
${SOAK.bytes / BYTES_PER_GB} GB and ${SOAK.messages.toLocaleString('en-US')} messages, and the growth of its resident memory is told.

--json writes an array of rows: suite, subject, version, mode, metric, size, hosts, encoding, count (transfers under way, connections),
transport, unit, median, p99, p999 (latencies), cpuSecondsPerGB (user and system time of both processes), copiesPerByte (in user
space), eventLoopDelayP99Ms, residentMiB (of the larger process, at its highest), soak (what moved, highest resident size), rounds,
environment, commit. A GB is 1e9 bytes.
--report writes one HTML page that needs nothing else, and beside it, in the folder figures, each figure as SVG.
--markdown replaces what stands between <!-- bench NAME --> and <!-- end bench NAME --> in a file, for each suite that was measured,
with its tables, and with its figures where --report writes them.
--from takes the rows of earlier runs for both, and joins them; without --suite nothing is measured. docs/BENCH.md tells the rest.

Exit codes: 0 all measured, 1 something could not be measured, 2 wrong usage, 130 interrupted.`;

interface Options {
  readonly suite?: readonly SuiteName[];
  readonly quick?: true;
  readonly json?: string;
  readonly report?: string;
  readonly markdown?: string;
  readonly from?: readonly string[];
  readonly rounds?: number;
  readonly only?: readonly SubjectName[];
}

function parseRounds(text: string): number {
  const rounds = Number(text);
  if (Number.isInteger(rounds) && rounds >= 1 && rounds <= ROUNDS_MAX) return rounds;
  throw new InvalidArgumentError(`Give a whole number from 1 to ${ROUNDS_MAX}.`);
}

function parseSuites(text: string): readonly SuiteName[] {
  if (text === 'all') return SUITE_NAMES;
  return chooseFrom(SUITE_NAMES, text, 'all or ');
}

function parseSubjects(text: string): readonly SubjectName[] {
  return chooseFrom(SUBJECT_NAMES, text);
}

function chooseFrom<T extends string>(known: readonly T[], text: string, also = ''): readonly T[] {
  return text.split(',').map((name) => {
    const chosen = known.find((candidate) => candidate === name.trim());
    if (chosen === undefined) throw new InvalidArgumentError(`Choose from ${also}${known.join(', ')}.`);
    return chosen;
  });
}

/**
 * Reads `args` (without node and script). Throws commander's CommanderError, after printing what it has to say, where help was asked for
 * (exit code 0) or the arguments are wrong, and a BenchError where nothing is left to measure or to draw.
 */
export function readCommandLine(args: readonly string[]): Plan {
  const options = new Command('npm run bench --')
    .description('Measures splitplane beside its peers, in one run on one machine.')
    .addOption(
      new Option('--suite <names>', `what to measure: all, or of ${SUITE_NAMES.join(', ')}`).argParser(
        parseSuites,
      ),
    )
    .option('--quick', 'one short round without the points of curves, to see that everything works')
    .option('--json <file>', 'write the rows to this file')
    .option('--report <file>', 'write a page with figures to this file')
    .option('--markdown <file>', 'put tables into this file, between its markers')
    .option('--from <files...>', 'take the rows of these files, which --json wrote')
    .addOption(new Option('--rounds <n>', 'number of rounds (default: 3)').argParser(parseRounds))
    .addOption(
      new Option('--only <subjects>', 'only these subjects, separated by commas').argParser(parseSubjects),
    )
    .addHelpText('after', HELP_AFTER)
    .allowExcessArguments(false)
    .exitOverride()
    .parse(args, { from: 'user' })
    .opts<Options>();
  const { suite: names = [], from = [], json, report, markdown } = options;
  if (names.length === 0 && from.length === 0) {
    throw new BenchError('ERR_BENCH_USAGE', 'Say what to measure with --suite, or what to draw with --from.');
  }
  const suites = SUITES.filter(({ name }) => names.includes(name)).flatMap((suite) =>
    planSuite(suite, options),
  );
  if (names.length > 0 && suites.length === 0) {
    throw new BenchError(
      'ERR_BENCH_USAGE',
      `Suite ${names.join(', ')} has none of these subjects; see --help.`,
    );
  }
  return { suites, fromFiles: from, jsonFile: json, reportFile: report, markdownFile: markdown };
}

/** None where nothing is left of it. */
function planSuite(suite: Suite, { only, quick, rounds }: Options): readonly SuitePlan[] {
  const isWanted = (subject: SubjectName) => only === undefined || only.includes(subject);
  const subjects = suite.subjects.filter(({ name }) => isWanted(name));
  if (subjects.length === 0) return [];
  const { full, quick: short } = PRESETS[suite.name];
  const preset = quick === true ? short : full;
  const plan = {
    ...suite,
    subjects: quick === true ? subjects.map((subject) => shortened(suite.name, subject)) : subjects,
    soaks: suite.soaks.filter(({ definition }) => isWanted(definition.name)),
  };
  return [{ ...preset, suite: plan, rounds: rounds ?? preset.rounds }];
}

/** The points of curves are the same traffic at other sizes. Of a curve that nothing else belongs to the first point stays. */
function shortened(suite: SuiteName, subject: Subject): Subject {
  const { [suite]: sizeMax = Infinity } = QUICK_SIZE_MAX;
  const cases = subject.cases.filter(({ size, count = 1 }) => size <= sizeMax && count <= QUICK_COUNT_MAX);
  const isNeeded = (task: Case) => {
    const ofMetric = cases.filter(({ metric }) => metric === task.metric);
    return task === (ofMetric.find(({ brief }) => brief !== true) ?? ofMetric[0]) || task.brief !== true;
  };
  return { ...subject, cases: cases.filter(isNeeded) };
}
