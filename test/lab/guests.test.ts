// What happens to guests that go wrong, and to a laboratory that has nothing to start from. These tests start laboratories of
// their own, on one host.
import { execFile } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Lab } from '../../ci/lab/lab.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CACHE = path.join(ROOT, 'build/lab');

const run = promisify(execFile);

describe('a guest that hangs', () => {
  test('is ended by its watchdog', async () => {
    const lab = await Lab.start({ single: true, watchdogSeconds: 10 });
    try {
      const hanging = lab.run('a', 'sleep 1000');
      await lab.run('a', 'kill -STOP $(pidof busybox)');
      await expect(hanging).rejects.toThrow(/host a ended by itself/);
      expect(() => lab.spawn('a', 'true')).toThrow(/host a ended by itself/);
    } finally {
      await lab.stop();
    }
  });

  test('is ended when its time is over', async () => {
    let lab: Lab | undefined;
    // On a busy machine the time may be over before the first command.
    const whole = async () => {
      lab = await Lab.start({ single: true, lifetimeSeconds: 10 });
      await lab.run('a', 'sleep 1000');
    };
    await expect(whole()).rejects.toThrow(/the guest's time is over/);
    await lab?.stop();
  });
});

describe('without a cache', () => {
  let empty: string;

  beforeAll(() => {
    mkdirSync(CACHE, { recursive: true });
    empty = mkdtempSync(path.join(CACHE, 'test-'));
  });

  afterAll(() => rmSync(empty, { recursive: true, force: true }));

  test('two runs at once make it, whole and once', async () => {
    // All but the download, which every fresh checkout proves.
    mkdirSync(path.join(empty, 'package'));
    for (const file of readdirSync(path.join(CACHE, 'package'))) {
      linkSync(path.join(CACHE, 'package', file), path.join(empty, 'package', file));
    }
    const start = `
      import { Lab } from ${JSON.stringify(path.join(ROOT, 'ci/lab/lab.mjs'))};
      const lab = await Lab.start({ single: true, cacheDirectory: ${JSON.stringify(empty)} });
      const { stdout } = await lab.run('a', 'uname -r');
      console.log('guest:', stdout);
      await lab.stop();`;
    const once = () => run(process.execPath, ['--input-type=module', '-e', start]);
    for (const { stdout } of await Promise.all([once(), once()])) expect(stdout).toMatch(/guest: \d+\.\d+/);
    const kinds = readdirSync(empty).map((name) => name.replace(/-.*/, ''));
    expect(kinds.sort()).toEqual(['initramfs', 'kernel', 'package']);
  });
});
