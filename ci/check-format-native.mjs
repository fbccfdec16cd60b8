// Checks that C and C++ files are formatted as .clang-format says; with --write, formats them. The formatter is Debian
// 12's clang-format 14, since versions differ in what they write.

import process from 'node:process';
import { parseArgs } from 'node:util';

import { projectFiles } from './files.mjs';
import { ScriptError, capture, main, run } from './process.mjs';

await main(async () => {
  const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } });
  if (capture('clang-format', ['--version']).status !== 0) {
    throw new ScriptError('clang-format is missing; npm run setup installs it');
  }
  const files = projectFiles('*.h', '*.cc', '*.c');
  if (files.length === 0) throw new ScriptError('there is no C or C++ file to look at');
  const mode = values.write ? ['-i'] : ['--dry-run', '-Werror'];
  try {
    await run('clang-format', [...mode, ...files]);
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    console.error('npm run format puts this right');
    process.exitCode = 1;
  }
});
