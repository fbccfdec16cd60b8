// What a manifest says of the time that messages to a service may take holds for whoever sends them, however long they would wait.
import { describe, expect, test } from 'vitest';
import { parseManifest } from '../../lib/runtime/manifest.js';
import { until } from '../support/events.js';
import { logOf, PLACES, serviceModule, subcode } from '../support/runtimes.js';
import { Sleep } from './services/sleeper.js';

describe.each(PLACES)('$name', (place) => {
  test('a message ends with ResponseTimeout, and the service is told', async () => {
    const { home, away } = await place.start();
    const text = `<manifest xmlns="urn:splitplane:manifest:1" name="m">
      <service name="sleeper" module="/sleeper.ts" timeout-ms="50"/></manifest>`;
    const [entry] = parseManifest(text, 'manifest.xml').services;
    if (entry === undefined) throw new Error('the manifest has a service');
    const uri = await home.load({ ...entry, module: serviceModule('sleeper.ts') });
    // The sender would wait for longer than this test may take.
    const asked = away.proxy(Sleep, uri).sleep({}, { timeoutMs: 3_600_000 });
    expect(await subcode(asked)).toBe('ResponseTimeout');
    await until(() => logOf(home).some((line) => line.text === 'woken'));
  });
});
