// Says which files the checks of this folder look at: those that git tracks, and new ones that it would not
// ignore, so that a check speaks before the commit and not after.

import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import { ScriptError, capture, root } from './process.mjs';

// A file may be listed and gone, and a link to a folder is listed like a file.
const isFile = (file) => statSync(path.join(root, file), { throwIfNoEntry: false })?.isFile() === true;

/** Paths relative to the root, sorted. `patterns` are git pathspecs; without any, every file. */
export function projectFiles(...patterns) {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...patterns];
  const listing = capture('git', args);
  if (listing.status !== 0) throw new ScriptError(`cannot list the project's files: ${listing.stderr}`);
  return [...new Set(listing.stdout.split('\0'))].filter((file) => file !== '' && isFile(file)).sort();
}

export const readLines = (file) => readFileSync(path.join(root, file), 'utf8').split('\n');

/** Prints what a check found, one line each, and fails if there was anything. */
export function report(problems, summary) {
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) throw new ScriptError(`${problems.length} ${summary}`);
}
