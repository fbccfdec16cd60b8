// The way to real hosts: commands run here for `localhost` and through ssh otherwise, for which a program stands in that
// runs them here too. Needs no RDMA device.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Lab, type Hosts } from '../../ci/lab/lab.mjs';
import { until } from '../support/events.js';

// Called as `ssh -o OPTION MACHINE COMMAND`.
const SSH = `#!/bin/sh
[ "$3" = nowhere ] && { echo "no route to $3" >&2; exit 255; }
export MACHINE="$3"
exec /bin/sh -c "$4"
`;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'splitplane-ssh-'));
  writeFileSync(path.join(folder, 'ssh'), SSH);
  chmodSync(path.join(folder, 'ssh'), 0o755);
  vi.stubEnv('PATH', `${folder}:${process.env['PATH'] ?? ''}`);
});

afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function named(hosts: string): Promise<Hosts> {
  const before = process.env['SPLITPLANE_RDMA'];
  process.env['SPLITPLANE_RDMA'] = hosts;
  try {
    return await Lab.open();
  } finally {
    if (before === undefined) delete process.env['SPLITPLANE_RDMA'];
    else process.env['SPLITPLANE_RDMA'] = before;
  }
}

describe('hosts that SPLITPLANE_RDMA names', () => {
  test('run commands with their own and their peer address', async () => {
    const lab = await named('localhost/192.0.2.7,node-b/2001:db8::8');
    expect(lab.hosts).toEqual(['a', 'b']);
    expect(lab.virtual).toBe(false);
    const command = 'echo "$MACHINE $LAB_HOST $LAB_SELF $LAB_PEER"; echo oh >&2; exit 4';
    expect(await lab.run('a', command)).toEqual({
      code: 4,
      signal: null,
      stdout: ' a 192.0.2.7 2001:db8::8\n',
      stderr: 'oh\n',
    });
    expect((await lab.run('b', command)).stdout).toBe('node-b b 2001:db8::8 192.0.2.7\n');
  });

  test('one alone is its own peer', async () => {
    const lab = await named('localhost/192.0.2.7');
    expect(lab.hosts).toEqual(['a']);
    expect((await lab.run('a', 'echo $LAB_PEER')).stdout).toBe('192.0.2.7\n');
  });

  test.each(['a', 'b'] as const)('take signals for a whole command (%s)', async (host) => {
    const lab = await named('localhost/192.0.2.7,node-b/192.0.2.8');
    const job = lab.spawn(host, 'sleep 1000 & echo up; wait');
    await job.until(/up/);
    job.signal('SIGKILL');
    expect(await job.result).toMatchObject({ code: null, signal: 'SIGKILL' });
  });

  test.each(['a', 'b'] as const)('end a command with whoever asked for it (%s)', async (host) => {
    const asks = `
      import { Lab } from ${JSON.stringify(new URL('../../ci/lab/lab.mjs', import.meta.url).href)};
      const job = (await Lab.open()).spawn('${host}', 'echo $$; exec sleep 1000');
      job.on('stdout', (text) => process.stdout.write(text));`;
    const env = { ...process.env, SPLITPLANE_RDMA: 'localhost/192.0.2.7,node-b/192.0.2.8' };
    const asking = spawn(process.execPath, ['--input-type=module', '-e', asks], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [pid] = (await once(asking.stdout.setEncoding('utf8'), 'data')) as [string];
    expect(isThere(Number(pid))).toBe(true);
    asking.kill('SIGKILL');
    await until(() => !isThere(Number(pid)));
  });

  test('that cannot be reached say so', async () => {
    const lab = await named('nowhere/192.0.2.9');
    await expect(lab.run('a', 'true')).rejects.toThrow(/cannot run on nowhere: no route to nowhere/);
  });

  test.each(['node-a', 'a/1,b/2,c/3', 'a/', '/1'])('are refused when written as %s', async (text) => {
    await expect(named(text)).rejects.toThrow(/write HOST\/ADDRESS/);
  });
});
