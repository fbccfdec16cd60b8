/**
 * The program that holds many services at once and tells what that costs: resident memory, and the time to find one by its URI. It
 * obeys the harness over IPC and ends with it.
 */
import { Runtime } from '../../lib/runtime/index.js';
import { UriManager } from '../../lib/runtime/uri-manager.js';
import { Port, Schedule } from '../../lib/runtime/port.js';
import { MIB } from '../measurement.js';
import BenchService from './service.js';

/** Lookups timed together: a clock read costs as much as one. */
const LOOKUPS_PER_READING = 1000;
const READINGS = 2000;
/** Coprime to every number of services used here, so that lookups jump about in the table. */
const STRIDE = 7919;

/** Resident MiB that `count` running services take. */
async function measureMemory(count: number): Promise<number> {
  const runtime = await Runtime.start();
  // Code is loaded and compiled before, so that it is not counted.
  for (let index = 0; index < 100; index++)
    await runtime.add(new BenchService(), { name: `before/${index}` });
  globalThis.gc?.();
  const before = process.memoryUsage.rss();
  for (let index = 0; index < count; index++)
    await runtime.add(new BenchService(), { name: `service/${index}` });
  globalThis.gc?.();
  const grown = process.memoryUsage.rss() - before;
  await runtime.close();
  return grown / MIB;
}

/** Microseconds for one lookup among `count`: the median over many readings. */
function measureLookup(count: number): number {
  const uris = new UriManager(() => ({ allowed: true, reason: '' }));
  const service = {
    concurrency: 'concurrent' as const,
    queueMax: 1,
    accepts: () => undefined,
    handle: () => undefined,
  };
  const schedule = new Schedule();
  const known = Array.from({ length: count }, (_, index) => {
    const target = new Port(service, schedule);
    return uris.register({ principal: 'bench', name: `service/${index}`, target }).uri;
  });
  // As they come out of a message: strings of their own, whose hashes nobody has computed yet.
  const readings: number[] = [];
  let at = 0;
  for (let reading = 0; reading < READINGS; reading++) {
    const asked = Array.from({ length: LOOKUPS_PER_READING }, () => {
      at = (at + STRIDE) % count;
      return Buffer.from(known[at] ?? '').toString('latin1');
    });
    const begin = performance.now();
    let found = 0;
    for (const uri of asked) if (uris.find(uri) !== undefined) found++;
    readings.push(((performance.now() - begin) * 1000) / LOOKUPS_PER_READING);
    if (found !== LOOKUPS_PER_READING) throw new Error('a service was not found');
  }
  return readings.sort((a, b) => a - b)[READINGS >> 1] ?? 0;
}

async function obey({ metric, count }: { metric: string; count: number }): Promise<void> {
  const figure = metric === 'services_memory' ? await measureMemory(count) : measureLookup(count);
  process.send?.({ figure }, undefined, undefined, () => process.exit(0));
}

process.on('message', (raw: unknown) => {
  void obey(raw as { metric: string; count: number });
});
process.on('disconnect', () => process.exit(0));
process.on('SIGINT', () => undefined);
