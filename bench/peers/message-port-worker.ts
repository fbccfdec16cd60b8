/**
 * The peer `messageport` of suite shm: echo between the main thread and a worker thread of one process, each on its own core where
 * there are two. What is posted is cloned, on the way there and on the way back: nothing else leaves the sender with what it sent.
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { KIB, MIB } from '../measurement.js';
import { pairSubject, type Traffic } from '../pair.js';

export const messagePortWorkerSubject = pairSubject({
  name: 'messageport',
  module: import.meta.url,
  transport: 'thread',
  spreads: true,
  cases: [
    { metric: 'message_rtt', size: 64, mode: 'event' },
    { metric: 'message_rtt', size: 4 * KIB, mode: 'event', brief: true },
    { metric: 'message_rtt', size: 64 * KIB, mode: 'event', brief: true },
    { metric: 'message_rtt', size: MIB, mode: 'event', brief: true },
  ],
  libraryCopiesPerByte: null,
  version: () => Promise.resolve(process.versions.node),
});

if (!isMainThread) parentPort?.on('message', (bytes: Uint8Array) => parentPort?.postMessage(bytes));

export const traffic: Traffic = {
  // Both ends are in the client's process; the harness has two all the same.
  serve: () => Promise.resolve(''),

  async drive(task, _address, recorder, signal) {
    const worker = new Worker(new URL(import.meta.url));
    const payload = new Uint8Array(task.size).fill(1);
    let begin = 0;
    const ask = () => {
      begin = performance.now();
      worker.postMessage(payload);
    };
    worker.on('message', () => {
      recorder.roundTrip(begin);
      if (!signal.aborted) ask();
    });
    ask();
    await once(signal, 'abort');
    await worker.terminate();
  },
};
