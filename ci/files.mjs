// Says which files the checks of this folder look at: those that git tracks, and new ones that it would not
// ignore, so that a check speaks before the commit and not after.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { ScriptError, capture, root } from './process.mjs';

/** Paths relative to the root, sorted. `patterns` are git pathspecs; without any, every file. */
export function projectFiles(...patterns) {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...patterns];
  const listing = capture('git', args);
  if (listing.status !== 0) throw new ScriptError(`cannot list the project's files: ${listing.stderr}`);
  return [...new Set(listing.stdout.split('\0'))]
    .filter((file) => file !== '' && existsSync(path.join(root, file)))
    .sort();
}

export const readLines = (file) => readFileSync(path.join(root, file), 'utf8').split('\n');

/** Prints what a check found, one line each, and fails if there was anything. */
export function report(problems, summary) {
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) throw new ScriptError(`${problems.length} ${summary}`);
}
