/**
 * Where and on what a figure was measured: machine, kernel, Node.js, time and commit. A figure without them cannot be compared
 * with another, so every row carries them.
 */
import { execFile } from 'node:child_process';
import os from 'node:os';
import { promisify } from 'node:util';
import type { Environment } from './measurement.js';

const execFileAsync = promisify(execFile);

export function readEnvironment(): Environment {
  const cpus = os.cpus();
  return {
    cpuModel: cpus[0]?.model.trim() ?? 'unknown',
    cores: cpus.length,
    memoryBytes: os.totalmem(),
    kernel: `${os.type()} ${os.release()}`,
    node: process.version,
    date: new Date().toISOString(),
    loadAverage1Min: os.loadavg()[0] ?? 0,
  };
}

/** The checked-out commit, with `-dirty` where tracked files differ from it; `null` outside a git checkout. */
export async function readCommit(directory: string): Promise<string | null> {
  try {
    const head = await execFileAsync('git', ['-C', directory, 'rev-parse', 'HEAD']);
    const changes = await execFileAsync('git', [
      '-C',
      directory,
      'status',
      '--porcelain',
      '--untracked-files=no',
    ]);
    return head.stdout.trim() + (changes.stdout.trim() === '' ? '' : '-dirty');
  } catch {
    return null;
  }
}
