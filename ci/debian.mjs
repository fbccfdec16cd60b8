// Finds which Debian packages are missing, and installs them where that is allowed (as root, with apt-get).
// Everywhere else it names the one command that would. What the packages are for is the caller's business.

import { existsSync } from 'node:fs';
import process from 'node:process';

import { ScriptError, capture } from './process.mjs';

// Another apt-get may be at work on a machine that has just started; wait for it rather than fail.
const aptLockWaitSeconds = 120;

// Each step of an installation and the time it gets: lists and downloads depend on a network that may stand still.
const steps = [
  { says: 'reading the lists of packages', args: ['update'], minutesMax: 3 },
  { says: 'downloading', args: ['install', '--download-only'], named: true, minutesMax: 10 },
  { says: 'unpacking', args: ['install', '--no-download'], named: true, minutesMax: 5 },
];

function missingPackages(packages) {
  const query = capture('dpkg-query', ['-W', '-f=${Package} ${db:Status-Status}\n', ...packages]);
  const installed = new Set(
    query.stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  return packages.filter((name) => !installed.has(name));
}

function aptGet(args, minutesMax) {
  const lock = ['-o', `DPkg::Lock::Timeout=${aptLockWaitSeconds}`];
  const command = ['DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq', ...lock, ...args];
  const result = capture('env', command, { timeoutMs: minutesMax * 60_000 });
  if (result.status !== 0) {
    throw new ScriptError(`apt-get ${args.join(' ')} failed:\n${result.stdout}${result.stderr}`);
  }
}

/**
 * Makes sure that `packages` are installed, and prints nothing when they already are.
 * Throws a ScriptError that says what to type when this process may not install them.
 */
export function ensurePackages(packages) {
  if (!existsSync('/usr/bin/dpkg-query')) {
    throw new ScriptError(
      `This is not a Debian machine. Install what Debian calls: ${packages.join(' ')}, then try again.`,
    );
  }
  const missing = missingPackages(packages);
  if (missing.length === 0) return;
  if (process.getuid() !== 0) {
    throw new ScriptError(
      'Packages are missing, and only root can install them. Type this, then try again:\n' +
        `  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing.join(' ')}`,
    );
  }
  console.log(`installing ${missing.join(' ')}`);
  for (const { says, args, named, minutesMax } of steps) {
    console.log(`  ${says}, ${minutesMax} minutes at most`);
    aptGet([...args, ...(named ? ['-y', '--no-install-recommends', ...missing] : [])], minutesMax);
  }
}
