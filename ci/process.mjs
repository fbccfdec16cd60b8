// Runs the programs that the scripts of this folder are made of, always from the repository root and
// never with a terminal to read from, so that nothing can stop and ask. It knows nothing of what they do.

import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** A failure whose message is all the reader needs: scripts print it without a stack. */
export class ScriptError extends Error {}

/**
 * Runs a program and gives back its output. A program that cannot be started, or is ended because `timeoutMs` have
 * passed, answers with status 127, as a shell would for the first, and says so in `stderr`.
 */
export function capture(command, args, { cwd = root, timeoutMs } = {}) {
  const options = { cwd, encoding: 'utf8', maxBuffer: 64 << 20, timeout: timeoutMs };
  const result = spawnSync(command, args, options);
  if (result.error) return { status: 127, stdout: '', stderr: String(result.error.message) };
  return { status: result.status ?? 1, stdout: result.stdout, stderr: result.stderr };
}

/**
 * Runs a program with its output shown as it comes, in a process group of its own: when `timeoutMs`
 * passes, or this process is asked to end, the whole group ends and nothing is left behind.
 * Throws a ScriptError unless it exits with 0.
 */
export async function run(command, args, { env = {}, timeoutMs } = {}) {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  });
  const endGroup = (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // The group is gone already, which is what was wanted.
    }
  };
  const interrupted = (signal) => {
    endGroup(signal);
    process.exit(130);
  };
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  let timedOut = false;
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true;
          endGroup('SIGKILL');
        }, timeoutMs);
  try {
    const outcome = await new Promise((resolve, reject) => {
      child.once('error', (cause) => reject(new ScriptError(`cannot run ${command}: ${cause.message}`)));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    const shown = [path.basename(command), ...args].join(' ');
    if (timedOut) throw new ScriptError(`${shown} did not end within ${timeoutMs / 1000} s`);
    if (outcome.code !== 0) throw new ScriptError(`${shown} ended with ${outcome.signal ?? outcome.code}`);
  } finally {
    clearTimeout(timer);
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
  }
}

/** Runs the body of a script; a ScriptError becomes its message and exit code 1. */
export async function main(body) {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
