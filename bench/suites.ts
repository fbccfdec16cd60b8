/**
 * Which subjects belong to which suite, in the order in which they are printed. The only file that knows them all.
 */
import { MIB, type Subject } from './measurement.js';
import { cSubject } from './peers/c.js';
import { grpcSubject } from './peers/grpc.js';
import { grpcTunedSubject } from './peers/grpc-tuned.js';
import { iperf3Subject } from './peers/iperf3.js';
import { nodeNetSubject } from './peers/node-net.js';
import { ucxSubject } from './peers/ucx.js';
import { zeromqSubject } from './peers/zeromq.js';
import type { Soak } from './soak.js';
import { splitplane, splitplaneSubject } from './subjects/splitplane.js';

export interface Suite {
  readonly name: string;
  readonly transport: string;
  readonly subjects: readonly Subject[];
  /** Run after the rounds, in this order. */
  readonly soaks: readonly Soak[];
}

export const SUITES: readonly Suite[] = [
  {
    name: 'tcp',
    transport: 'tcp',
    subjects: [
      splitplaneSubject,
      cSubject,
      iperf3Subject,
      ucxSubject,
      nodeNetSubject,
      zeromqSubject,
      grpcSubject,
      grpcTunedSubject,
    ],
    soaks: [
      {
        metric: 'soak_transfer',
        definition: splitplane,
        task: { metric: 'pull', size: 16 * MIB, mode: 'event' },
      },
      {
        metric: 'soak_messages',
        definition: splitplane,
        task: { metric: 'message_rate', size: 64, mode: 'event' },
      },
    ],
  },
];
