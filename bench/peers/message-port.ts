/**
 * The peer `messageport`: request and answer over a MessageChannel within one thread, which is what Node.js itself offers two parts of a
 * program that are to share nothing. A buffer is transferred there and back.
 */
import { once } from 'node:events';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { MIB } from '../measurement.js';
import { pairSubject, type Traffic } from '../pair.js';

/** Requests under way at once. */
const REQUESTS_IN_FLIGHT = 16;

export const messagePortSubject = pairSubject({
  name: 'messageport',
  module: import.meta.url,
  cases: [
    { metric: 'local_rate', size: 0, mode: 'event' },
    { metric: 'local_rate', size: 64 * MIB, mode: 'event' },
  ],
  libraryCopiesPerByte: null,
});

interface Asked {
  readonly number: number;
  readonly data: ArrayBuffer | undefined;
}

export const traffic: Traffic = {
  // Both ends are in the client's process; the harness has two all the same.
  serve: () => Promise.resolve(''),

  async drive(task, _address, recorder, signal) {
    const { port1: asker, port2: teller } = new MessageChannel();
    teller.on('message', ({ number, data }: Asked) => {
      teller.postMessage({ number, data }, data === undefined ? [] : [data]);
    });
    const ask = (port: MessagePort, data: ArrayBuffer | undefined): void => {
      port.postMessage({ number: 1, data }, data === undefined ? [] : [data]);
    };
    asker.on('message', ({ data }: Asked) => {
      recorder.delivered(1);
      if (!signal.aborted) ask(asker, data);
    });
    const withBuffers = task.size > 0;
    for (let index = 0; index < REQUESTS_IN_FLIGHT; index++)
      ask(asker, withBuffers ? new ArrayBuffer(task.size) : undefined);
    await once(signal, 'abort');
    asker.close();
  },
};
