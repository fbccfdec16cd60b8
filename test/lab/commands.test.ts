// What a command in the laboratory sees, and what of it is seen outside: output as it comes, exit codes, signals, files, and
// the rights that it was given.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resultsDirectory, type Hosts } from '../../ci/lab/lab.mjs';
import { laboratory, output } from './laboratory.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');

let lab: Hosts;
let folder: string;

beforeAll(async () => {
  lab = await laboratory();
  mkdirSync(resultsDirectory, { recursive: true });
  folder = mkdtempSync(path.join(resultsDirectory, 'commands-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('how a command ends', () => {
  test('exit code, standard output and standard error come back as they were', async () => {
    const result = await lab.run('a', "printf 'one\\ntwo'; echo 'thrée' >&2; exit 7");
    expect(result).toEqual({ code: 7, signal: null, stdout: 'one\ntwo', stderr: 'thrée\n' });
  });

  test('a signal ends the whole group, and is told as one', async () => {
    const job = lab.spawn('a', 'sleep 1000 & echo $!; wait');
    const [, child] = await job.until(/^(\d+)\n/);
    job.signal('SIGTERM');
    expect(await job.result).toMatchObject({ code: null, signal: 'SIGTERM' });
    expect((await lab.run('a', `kill -0 ${child}`)).code).not.toBe(0);
  });

  test('one that takes too long is ended and says so', async () => {
    await expect(lab.run('a', 'sleep 1000', { timeoutMs: 100 })).rejects.toThrow(
      /sleep 1000 .*did not end within 0.1 s/,
    );
  });

  test('output is there while the command still runs', async () => {
    const job = lab.spawn('a', 'echo first; sleep 1000');
    await job.until(/first/);
    const second = job.until(/second/);
    job.signal('SIGTERM');
    await expect(second).rejects.toThrow(/ended with SIGTERM before its stdout matched/);
  });

  test('ten thousand lines arrive, in order', async () => {
    const lines = (await output('a', 'seq 10000')).trimEnd().split('\n');
    expect(lines).toEqual(Array.from({ length: 10_000 }, (_, index) => String(index + 1)));
  });

  test('commands on both hosts run at the same time', async () => {
    const last = lab.hosts.at(-1) ?? 'a';
    const jobs = [lab.spawn('a', 'echo on $LAB_HOST; cat'), lab.spawn(last, 'echo on $LAB_HOST; sleep 1000')];
    await Promise.all(jobs.map((job) => job.until(/on [ab]\n/)));
    expect(jobs.map(({ stdout }) => stdout)).toEqual(['on a\n', `on ${last}\n`]);
    jobs[1]?.signal('SIGKILL');
    const [first, second] = await Promise.all(jobs.map((job) => job.result));
    // There is nothing to read, so the first one has ended by itself.
    expect(first?.code).toBe(0);
    expect(second?.signal).toBe('SIGKILL');
  });
});

describe('what a command sees', () => {
  test('this checkout, this node, and the variables it was given', async () => {
    const program = 'console.log(JSON.stringify([process.cwd(), process.version, process.env.GIVEN]))';
    const told = await output('a', `node -e '${program}'`, { env: { GIVEN: `it's "this"\nand $that` } });
    expect(JSON.parse(told)).toEqual([ROOT, process.version, `it's "this"\nand $that`]);
  });

  test('what it writes into the folder for results is here, and what it writes elsewhere is not', async ({
    skip,
  }) => {
    if (!lab.virtual) skip('a real host writes to its own disk');
    await output('a', `echo kept > ${folder}/file; echo lost > lost-file; cat lost-file`);
    expect(readFileSync(path.join(folder, 'file'), 'utf8')).toBe('kept\n');
    expect(() => readFileSync(path.join(ROOT, 'lost-file'))).toThrow(/ENOENT/);
  });
});

describe('rights', () => {
  // 1 MiB of buffers, twice, does not fit into what this limit leaves.
  const memlockBytes = 65_536;
  const registers = 'timeout 5 ibv_rc_pingpong -s 1048576 -g 1 ${LAB_DEVICE:+-d $LAB_DEVICE}';

  test('a command may run as somebody else, who may still use the device', async ({ skip }) => {
    if (!lab.virtual) skip('what users may do on a real host is its own affair');
    expect(await output('a', 'id -un', { user: 'nobody' })).toBe('nobody\n');
    expect(await output('a', 'ibv_devinfo', { user: 'nobody' })).toMatch(/PORT_ACTIVE/);
  });

  test('a limit on locked memory holds, for root too', async ({ skip }) => {
    if (!lab.virtual) skip('only root can set limits');
    for (const user of [{}, { user: 'nobody' }]) {
      expect(await output('a', 'ulimit -l', { memlockBytes, ...user })).toBe('64\n');
      const refused = await lab.run('a', registers, { memlockBytes, ...user });
      expect(refused.stderr).toMatch(/Couldn't register MR/);
    }
    // Without the limit the same command gets as far as waiting for its peer, which timeout(1) ends.
    expect((await lab.run('a', registers)).code).toBe(124);
  });
});
