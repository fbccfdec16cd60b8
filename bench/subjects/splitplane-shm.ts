/**
 * The subject `splitplane` of suite shm: the same traffic as over TCP, through memory that both processes see, and what only that can:
 * payload whose size does not matter.
 */
import { CONCURRENCY, KIB, MIB, type Case, type Mode } from '../measurement.js';
import { pairSubject, type PairDefinition } from '../pair.js';
import { trafficOver } from './splitplane.js';

const MODES: readonly Mode[] = ['event', 'adaptive', 'busy'];

export const splitplaneShm: PairDefinition = {
  name: 'splitplane',
  module: import.meta.url,
  cases: [
    { metric: 'push', size: MIB, mode: 'event' },
    { metric: 'pull', size: 4 * KIB, mode: 'event', brief: true },
    { metric: 'pull', size: 64 * KIB, mode: 'event', brief: true },
    { metric: 'pull', size: MIB, mode: 'event' },
    { metric: 'pull', size: 16 * MIB, mode: 'event', brief: true },
    ...CONCURRENCY.map((count): Case => ({
      metric: 'concurrent_pull',
      size: 256 * KIB,
      mode: 'event',
      count,
      brief: true,
    })),
    ...MODES.map((mode): Case => ({ metric: 'message_rtt', size: 64, mode })),
    { metric: 'message_rtt', size: 64, mode: 'adaptive', encoding: 'xml' },
    ...[4 * KIB, 64 * KIB].map((size): Case => ({
      metric: 'message_rtt',
      size,
      mode: 'adaptive',
      brief: true,
    })),
    { metric: 'message_rtt', size: MIB, mode: 'adaptive' },
    { metric: 'message_rtt', size: 64 * MIB, mode: 'adaptive' },
    { metric: 'fetch_rtt', size: MIB, mode: 'adaptive' },
    ...MODES.map((mode): Case => ({ metric: 'read_rtt', size: 64, mode })),
    { metric: 'contended_rtt', size: 64, mode: 'adaptive' },
    { metric: 'contended_rtt', size: 64, mode: 'event' },
    { metric: 'message_rate', size: 64, mode: 'event' },
    { metric: 'message_rate', size: 64, mode: 'event', encoding: 'xml' },
    { metric: 'batch_rate', size: 64, mode: 'event' },
    { metric: 'buffer_rate', size: MIB, mode: 'event' },
    { metric: 'idle_cpu', size: 64, mode: 'event' },
    { metric: 'idle_cpu', size: 64, mode: 'adaptive' },
  ],
  // The engine counts its own copies, and the recorder is told.
  libraryCopiesPerByte: 0,
};

export const splitplaneShmSubject = pairSubject(splitplaneShm);

export const traffic = trafficOver('shm', '127.0.0.1');
