// What `npm test` runs: every stage below in order, each with a heading and the time it took, up to the first one
// that is red. Ends with a plain line "N passed, N failed" over all test suites, where a stage that failed without
// tests of its own counts as one. In CI (CI=true) a skipped test is a failed one. With names, only those stages:
// node ci/test.mjs build native vitest.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { countReports, countVitest } from './lab/reports.mjs';
import { ensureLabPossible, resultsDirectory } from './lab/lab.mjs';
import { ScriptError, capture, main, root, run } from './process.mjs';
import { runFuzzers, runSuite } from './test-native.mjs';

// No stage takes a tenth of this on two cores; it is there so that something that hangs ends.
const stageTimeoutMs = 20 * 60_000;
// But for the laboratory, whose machines are emulated and take what else runs here amiss.
const labTimeoutMs = 60 * 60_000;

const npmRun = (...args) => run('npm', ['run', '--silent', ...args], { timeoutMs: stageTimeoutMs });
const node = (...args) => run(process.execPath, args, { timeoutMs: stageTimeoutMs });

/** Runs vitest over `files` (patterns of paths; none means all that `config` names) and counts by result. */
async function vitest(options = {}) {
  const { files = [], env = {}, config = 'vitest.config.ts', timeoutMs = stageTimeoutMs } = options;
  const directory = mkdtempSync(path.join(tmpdir(), 'splitplane-vitest-'));
  const reportFile = path.join(directory, 'report.json');
  const script = path.join(root, 'node_modules/vitest/vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  let red;
  try {
    const args = [script, 'run', '--config', config, ...reporters, ...files];
    await run(process.execPath, args, { env, timeoutMs });
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    red = error;
  }
  try {
    if (!existsSync(reportFile)) throw red ?? new ScriptError('vitest left no report');
    const counts = countVitest(JSON.parse(readFileSync(reportFile, 'utf8')));
    // A file that cannot be loaded, or an error outside a test, has no failed test to its name.
    if (red && counts.failed === 0) counts.failed = 1;
    return counts;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The conformance suite inside node, against the addon built with AddressSanitizer and UBSan. */
async function conformanceSanitized() {
  await node('ci/build-native.mjs', '--sanitize');
  const runtime = capture('g++', ['-print-file-name=libasan.so']).stdout.trim();
  return vitest({
    files: ['test/conformance'],
    env: {
      // Node itself is not instrumented, so the runtime has to be there before everything else; and Node's own
      // allocations live until exit by design, which the leak detector would report.
      LD_PRELOAD: runtime,
      ASAN_OPTIONS: 'detect_leaks=0',
      UBSAN_OPTIONS: 'print_stacktrace=1',
      SPLITPLANE_ADDON: path.join(root, 'build/Sanitize/splitplane.node'),
    },
  });
}

const quickBench = (suites) => npmRun('bench', '--', '--suite', suites, '--quick');

/** What needs the laboratory, or hosts in its place: `run`, or a skip where neither is to be had. */
async function inLab(run) {
  try {
    if (!process.env.SPLITPLANE_RDMA) ensureLabPossible();
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    console.log(`the laboratory cannot run here: ${error.message}`);
    return { passed: 0, failed: 0, skipped: 1 };
  }
  return run();
}

/** The tests of test/lab, and the suites that they ran on hosts and whose reports those left behind. */
async function lab() {
  rmSync(resultsDirectory, { recursive: true, force: true });
  const here = await vitest({ config: 'test/lab/vitest.config.ts', timeoutMs: labTimeoutMs });
  const there = countReports(resultsDirectory);
  const sum = (name) => here[name] + there[name];
  return { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') };
}

// A stage gives back { passed, failed, skipped } if it counts tests, and throws a ScriptError if it is red.
const stages = {
  setup: () => node('ci/setup.mjs'),
  build: () => npmRun('build'),
  lint: () => npmRun('lint'),
  types: () => node('node_modules/typescript/bin/tsc', '-p', 'test/tsconfig.json'),
  native: () => runSuite('plain', { timeoutMs: stageTimeoutMs }),
  'native-asan': () => runSuite('asan', { timeoutMs: stageTimeoutMs }),
  fuzz: () => runFuzzers(),
  vitest: () => vitest(),
  'conformance-asan': conformanceSanitized,
  bench: () => quickBench('tcp,shm,runtime,serializer'),
  demo: () => npmRun('demo'),
  lab: () => inLab(lab),
  'bench-rdma': () => inLab(() => quickBench('rdma')),
};

/** Runs one stage and adds what it counted to `total`; gives back whether it is green. */
async function runStage(name, total) {
  console.log(`\n=== ${name}`);
  const startedAt = performance.now();
  let counts;
  try {
    counts = await stages[name]();
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    console.error(error.message);
    counts = { passed: 0, failed: 1, skipped: 0 };
  }
  const { passed, failed, skipped } = counts ?? { passed: 0, failed: 0, skipped: 0 };
  const skippedFails = process.env.CI === 'true' && skipped > 0;
  total.passed += passed;
  total.failed += failed + (skippedFails ? skipped : 0);
  const green = failed === 0 && !skippedFails;
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const tests = counts ? `: ${passed} passed, ${failed} failed, ${skipped} skipped` : '';
  console.log(`=== ${name} ${green ? 'ok' : 'FAILED'} in ${seconds} s${tests}`);
  if (skippedFails) console.error(`${skipped} skipped, and in CI a skip is a failure`);
  return green;
}

await main(async () => {
  const wanted = process.argv.slice(2);
  const unknown = wanted.filter((name) => !(name in stages));
  if (unknown.length > 0) {
    throw new ScriptError(`no stage ${unknown.join(', ')}; there are ${Object.keys(stages).join(', ')}`);
  }
  const total = { passed: 0, failed: 0 };
  for (const name of Object.keys(stages)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    if (!(await runStage(name, total))) {
      process.exitCode = 1;
      break;
    }
  }
  console.log(`\n${total.passed} passed, ${total.failed} failed`);
});
