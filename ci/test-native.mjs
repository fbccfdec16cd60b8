// Builds and runs the native programs of test/native/CMakeLists.txt, each variant in a directory of its own below
// build-native/: `plain`, `asan` (with UBSan) and `tsan` are the googletest suite, `fuzz` the libFuzzer targets for
// a bounded time each. ci/test.mjs uses it stage by stage; by hand: node ci/test-native.mjs asan [--filter PATTERN].

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { countGoogletest } from './lab/reports.mjs';
import { ScriptError, main, root, run } from './process.mjs';

const fuzzSecondsEach = 30;
const fuzzMemoryMiBMax = 2048;

// `core` is the configuration of binding.gyp whose objects are tested; without it they are compiled for the purpose.
const variants = {
  plain: { core: 'Release' },
  asan: { core: 'Sanitize', options: ['-DSANITIZE=address,undefined'] },
  tsan: { options: ['-DSANITIZE=thread'] },
  // libFuzzer belongs to clang; everything else is built with the compiler of the product.
  fuzz: { options: ['-DSANITIZE=address,undefined', '-DCMAKE_CXX_COMPILER=clang++'] },
};

const buildDirectory = (variant) => path.join(root, 'build-native', variant);

async function build(variant) {
  const directory = buildDirectory(variant);
  const { core, options = [] } = variants[variant];
  if (core)
    await run(process.execPath, ['ci/build-native.mjs', ...(core === 'Sanitize' ? ['--sanitize'] : [])]);
  const library = core ? `build/${core}/splitplane_core.a` : '';
  const about = ['-S', 'test/native', '-B', directory, `-DCORE=${library}`, ...options];
  await run('cmake', ['--log-level=WARNING', ...about]);
  await run('cmake', ['--build', directory, '-j', '2', '--', '--no-print-directory']);
}

/** Runs every second test of the suite; a process that dies counts as one failure, since it left no report. */
async function runHalf(directory, index, { filter, timeoutMs }) {
  const report = path.join(directory, `report-${index}.json`);
  rmSync(report, { force: true });
  const args = ['--gtest_brief=1', `--gtest_filter=${filter}`, `--gtest_output=json:${report}`];
  const env = { GTEST_TOTAL_SHARDS: '2', GTEST_SHARD_INDEX: String(index) };
  let died;
  try {
    await run(path.join(directory, 'native_test'), args, { env, timeoutMs });
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    died = error;
  }
  let counts;
  try {
    counts = countGoogletest(JSON.parse(readFileSync(report, 'utf8')));
  } catch {
    console.error(`the native tests left no report${died ? `: ${died.message}` : ''}`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  // A sanitizer that objects at exit leaves a report in which all is well.
  if (died && counts.failed === 0) counts.failed = 1;
  return counts;
}

/**
 * Builds one variant of the googletest suite and runs it, in two processes beside each other, since a test keeps no
 * more than one core busy. Gives back { passed, failed, skipped }.
 */
export async function runSuite(variant, { filter = '*', timeoutMs } = {}) {
  await build(variant);
  const halves = [0, 1].map((index) => runHalf(buildDirectory(variant), index, { filter, timeoutMs }));
  const [one, other] = await Promise.all(halves);
  const sum = (name) => one[name] + other[name];
  const counts = { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') };
  if (counts.passed + counts.failed === 0) throw new ScriptError('no native test ran');
  return counts;
}

/**
 * Runs one fuzz target for a bounded time, starting from its committed corpus in test/fuzz/corpus/<name> where there is one.
 * An input that fails is kept in the directory and named. Gives back whether there was none.
 */
async function runFuzzer(directory, target) {
  const name = path.basename(target, '.fuzz');
  // libFuzzer adds what it finds to the first directory; the committed seeds are only read.
  const found = path.join(directory, 'corpus', name);
  mkdirSync(found, { recursive: true });
  const seeds = path.join(root, 'test/fuzz/corpus', name);
  const options = [
    `-max_total_time=${fuzzSecondsEach}`,
    `-rss_limit_mb=${fuzzMemoryMiBMax}`,
    `-artifact_prefix=${directory}/${name}-`,
    '-print_final_stats=0',
    '-verbosity=0',
  ];
  console.log(`fuzzing ${name} for ${fuzzSecondsEach} s`);
  try {
    const inputs = existsSync(seeds) ? [found, seeds] : [found];
    await run(path.join(directory, target), [...options, ...inputs], { timeoutMs: 3000 * fuzzSecondsEach });
    return true;
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    console.error(error.message);
    return false;
  }
}

/** Builds the fuzz targets and runs all of them side by side. */
export async function runFuzzers() {
  await build('fuzz');
  const directory = buildDirectory('fuzz');
  const targets = readdirSync(directory).filter((file) => file.endsWith('.fuzz'));
  if (targets.length === 0) throw new ScriptError('there is no fuzz target: test/fuzz/*.fuzz.cc is empty');
  const green = await Promise.all(targets.map((target) => runFuzzer(directory, target)));
  const passed = green.filter(Boolean).length;
  return { passed, failed: targets.length - passed, skipped: 0 };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { filter: { type: 'string', default: '*' } },
    });
    const [variant] = positionals;
    if (positionals.length !== 1 || !(variant in variants)) {
      throw new ScriptError(`name one variant: ${Object.keys(variants).join(', ')}`);
    }
    const counts = variant === 'fuzz' ? await runFuzzers() : await runSuite(variant, values);
    console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
    if (counts.failed > 0) process.exitCode = 1;
  });
}
