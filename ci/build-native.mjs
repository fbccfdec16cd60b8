// Builds the addon with node-gyp: build/Release/splitplane.node, or with --sanitize (AddressSanitizer and
// UndefinedBehaviorSanitizer, for tests) build/Sanitize/splitplane.node. What is compiled, and how, stands in
// binding.gyp. Does nothing but look when nothing has changed.

import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { ensurePackages } from './debian.mjs';
import { ScriptError, capture, main, root, run } from './process.mjs';

// C++20 as this project uses it.
const gccMajorMin = 12;
// Compiling takes about half a gigabyte a job; more jobs than this exhaust small machines.
const jobs = 2;

function ensureTools() {
  const missing = ['g++', 'make', 'python3'].filter((tool) => capture(tool, ['--version']).status !== 0);
  if (missing.length > 0) ensurePackages(missing);
  const version = capture('g++', ['-dumpversion']).stdout.trim();
  if (Number.parseInt(version, 10) < gccMajorMin) {
    throw new ScriptError(
      `g++ is version ${version}; install g++ ${gccMajorMin} or later (Debian 12 has it).`,
    );
  }
}

/** Headers that came with this Node are taken as they are; otherwise node-gyp downloads those of its version. */
function headerOptions() {
  const prefix = path.resolve(path.dirname(process.execPath), '..');
  return existsSync(path.join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

await main(async () => {
  const { values } = parseArgs({ options: { sanitize: { type: 'boolean', default: false } } });
  const configuration = values.sanitize ? 'Sanitize' : 'Release';
  ensureTools();
  // Configuring each time takes half a second and is what lets a new source file join the build. Make is called
  // without node-gyp because `node-gyp build` knows no configuration beside Release and Debug.
  const nodeGyp = path.join(root, 'node_modules/node-gyp/bin/node-gyp.js');
  await run(process.execPath, [nodeGyp, 'configure', '--loglevel=error', ...headerOptions()]);
  await run('make', ['--silent', `-j${jobs}`, '-C', 'build', `BUILDTYPE=${configuration}`]);
});
