// Proves that the processor time of an idle pair is all of it: what any thread of a process spends, and nothing that passes in sleep.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { processorMs } from '../../../bench/idle.js';

const BUSY_MS = 200;

/** A thread that spends time of its own, says so, and then waits: when a thread has ended, its time is no longer told. */
const BUSY_THREAD = `
  const { parentPort } = require('node:worker_threads');
  parentPort.once('message', () => {
    const end = performance.now() + ${BUSY_MS};
    while (performance.now() < end);
    parentPort.postMessage('done');
    parentPort.on('message', () => undefined);
  });`;

test('the time of every thread counts', async () => {
  const worker = new Worker(BUSY_THREAD, { eval: true });
  try {
    await once(worker, 'online');
    const spentBefore = processorMs(process.pid);
    const before = process.cpuUsage();
    worker.postMessage('go');
    await once(worker, 'message');
    const spent = processorMs(process.pid) - spentBefore;
    const { user, system } = process.cpuUsage(before);
    // The two are read one after the other, and the thread keeps none of its time from either.
    expect(spent).toBeGreaterThan(0.9 * ((user + system) / 1000 - 10));
    expect(spent).toBeLessThan(1.1 * ((user + system) / 1000 + 10));
  } finally {
    await worker.terminate();
  }
});

test('a process that is gone is told as one, and not as a kernel that cannot tell', () => {
  expect(() => processorMs(2 ** 30)).toThrow('ended while it was watched');
});
