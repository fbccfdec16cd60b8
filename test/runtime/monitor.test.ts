// The monitor of a real runtime: asked for in its manifest, shown in a real browser, gone with the runtime.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Runtime, type RuntimeSnapshot } from '../../lib/runtime/index.js';
import { openPage } from '../support/browser.js';
import { code } from '../support/events.js';
import { get } from '../support/monitor-client.js';
import { servicePath, startRuntime } from '../support/runtimes.js';
import { Counter } from './services/counter.js';

function manifestFile(inside: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'monitor-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'manifest.xml');
  writeFileSync(
    file,
    `<manifest xmlns="urn:splitplane:manifest:1" name="counting"><security off="true"/>${inside}</manifest>`,
  );
  return file;
}

test('shows what a manifest asks it to show, while it happens', async () => {
  // Not one of startRuntime(): the end of this one is part of the test.
  const runtime = await Runtime.start(
    manifestFile(
      `<network listen="tcp://127.0.0.1:0"/>
       <monitor listen="http://127.0.0.1:0"/>
       <service name="counter" module="${servicePath('counter.ts')}"/>
       <service name="broken" module="./no-such-module.js"/>`,
    ),
    { log: () => undefined },
  );
  onTestFinished(() => runtime.close());
  const url = runtime.monitorUrl ?? expect.fail('there is no monitor');
  const page = await openPage();
  await page.goto(url);
  await page.getByRole('heading', { name: 'counting' }).waitFor();
  const row = (name: string) => page.locator('#services tbody tr').filter({ hasText: name });
  await row('broken').filter({ hasText: 'failed' }).waitFor();
  await row('counter').filter({ hasText: 'running' }).waitFor();
  await page.getByRole('button', { name: 'counter' }).click();

  const { uri } = runtime.snapshot().services.find(({ name }) => name === 'counter') ?? expect.fail();
  const counter = runtime.proxy(Counter, uri);
  for (let i = 0; i < 3; i++) await counter.add({ count: 1 });
  await page
    .locator('.details')
    .filter({ hasText: /Messages delivered\s*3/ })
    .waitFor();
  await page.locator('[data-tile=messages-inside]').filter({ hasText: '3 in all' }).waitFor();

  const other = await startRuntime({ network: { listen: [], allowInsecure: false } });
  await other.proxy(Counter, uri).add({ count: 1 });
  await page.locator('#connections tbody tr').filter({ hasText: 'open' }).waitFor();

  const shown = JSON.parse((await get(new URL('snapshot.json', url))).body) as RuntimeSnapshot;
  expect(shown).toMatchObject({ name: 'counting', prefix: runtime.prefix, nodeId: runtime.network?.nodeId });
  expect(shown.services.map(({ name }) => name)).toEqual(expect.arrayContaining(['broken', 'counter']));

  await runtime.close();
  await page.locator('#link').filter({ hasText: 'Connection lost' }).waitFor();
  await expect(get(url)).rejects.toThrow();
});

test('is no part of a runtime that was not asked for one', async () => {
  expect((await startRuntime()).monitorUrl).toBeUndefined();
});

test('keeps a runtime from starting when it cannot be where it is wanted, and leaves nothing behind', async () => {
  const beyond = { listen: 'http://0.0.0.0:0' };
  expect(await code(startRuntime({ monitor: beyond }))).toBe('INSECURE_TRANSPORT');
  const first = await startRuntime({ monitor: { listen: 'http://127.0.0.1:0' } });
  const taken = first.monitorUrl ?? '';
  expect(await code(startRuntime({ monitor: { listen: taken } }))).toBe('ADDRESS_IN_USE');
  const allowed = { network: { listen: [], allowInsecure: true }, monitor: beyond };
  expect((await startRuntime(allowed)).monitorUrl).toMatch(/^http:\/\/0\.0\.0\.0:\d+\/$/);
});
