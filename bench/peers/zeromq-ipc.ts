/**
 * The peer `zeromq` over ipc, its transport within one host: the same program as over TCP.
 */
import { pairSubject } from '../pair.js';
import { ZEROMQ, ZEROMQ_CASES, zeromqTraffic } from './zeromq.js';

export const zeromqIpcSubject = pairSubject({
  ...ZEROMQ,
  module: import.meta.url,
  transport: 'ipc',
  cases: ZEROMQ_CASES,
});

export const traffic = zeromqTraffic('ipc');
