/**
 * Which subjects belong to which suite, in the order in which they are printed. The only file that knows them all.
 */
import type { Subject } from './measurement.js';
import { cSubject } from './peers/c.js';
import { grpcSubject } from './peers/grpc.js';
import { iperf3Subject } from './peers/iperf3.js';
import { nodeNetSubject } from './peers/node-net.js';
import { ucxSubject } from './peers/ucx.js';
import { zeromqSubject } from './peers/zeromq.js';
import { splitplaneSubject } from './subjects/splitplane.js';

export interface Suite {
  readonly name: string;
  readonly transport: string;
  readonly subjects: readonly Subject[];
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
    ],
  },
];
