// `npm run lab` as people type it: which command runs where, how output and exit codes come back, and that nothing is left
// when it is interrupted.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const PROGRAM = fileURLToPath(new URL('../../ci/lab.mjs', import.meta.url));

function start(...args: string[]) {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  const closed = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  return { child, said, closed };
}

/** The lines of `text`, sorted, since two hosts write at the same time. */
const lines = (text: string) => text.trimEnd().split('\n').sort();

/** The processes whose parent is `pid`. */
function childrenOf(pid: number | undefined): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((candidate) => {
      try {
        return new RegExp(`^PPid:\\s${pid}$`, 'm').test(readFileSync(`/proc/${candidate}/status`, 'utf8'));
      } catch {
        return false;
      }
    });
}

describe('npm run lab', () => {
  test('runs different commands on two hosts and fails with the one that fails', async () => {
    const { said, closed } = start('--a', 'echo I am $LAB_HOST; exit 3', '--b', 'echo to >&2; hostname');
    expect(await closed).toBe(3);
    expect(lines(said.stdout)).toEqual(['a| I am a', 'b| lab-b']);
    expect(lines(said.stderr)).toEqual(['a| ended with 3', 'b| to']);
  });

  test('passes words on as they are', async () => {
    const { said, closed } = start(
      '--single',
      '--timeout',
      '250',
      'printf',
      '<%s>\n',
      'a  b',
      '$HOME',
      '--single',
    );
    expect(await closed).toBe(0);
    expect(said.stdout).toBe('a| <a  b>\na| <$HOME>\na| <--single>\n');
  });

  test('leaves no guest behind when it is interrupted', async () => {
    const { child, said, closed } = start('--single', 'echo up; sleep 1000');
    while (!said.stdout.includes('up')) await once(child.stdout, 'data');
    const guests = childrenOf(child.pid);
    expect(guests).toHaveLength(1);
    child.kill('SIGINT');
    expect(await closed).toBe('SIGINT');
    const left = guests.filter((pid) => {
      try {
        return !/^State:\sZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
      } catch {
        return false;
      }
    });
    expect(left).toEqual([]);
  });

  test.each([[[]], [['--timeout', 'soon', 'true']], [['--nothing', 'true']]])(
    '%j is answered with what to type',
    async (args) => {
      const { said, closed } = start(...args);
      expect(await closed).toBe(1);
      expect(said.stderr).toMatch(/usage: |takes a positive number/);
    },
  );
});
