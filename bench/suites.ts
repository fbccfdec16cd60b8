/**
 * Which subjects belong to which suite, in the order in which they are printed. The only file that knows them all.
 */
import { MIB, type Environment, type Subject } from './measurement.js';
import { cSubject } from './peers/c.js';
import { grpcSubject } from './peers/grpc.js';
import { grpcTunedSubject } from './peers/grpc-tuned.js';
import { managerSubject } from './peers/manager.js';
import { messagePortSubject } from './peers/message-port.js';
import { iperf3Subject } from './peers/iperf3.js';
import { nodeNetSubject } from './peers/node-net.js';
import { perftestSubject } from './peers/perftest.js';
import { ucxRdmaSubject } from './peers/ucx-rdma.js';
import { ucxSubject } from './peers/ucx.js';
import { zeromqSubject } from './peers/zeromq.js';
import type { Soak } from './soak.js';
import { startAgents, stopAgents } from './rdma/agents.js';
import { closeHosts } from './rdma/hosts.js';
import { splitplaneRuntimeSubject } from './subjects/splitplane-runtime.js';
import { splitplaneRdmaSubject } from './subjects/splitplane-rdma.js';
import { splitplane, splitplaneSubject } from './subjects/splitplane.js';
import type { SuiteName } from './targets.js';

export interface Suite {
  readonly name: SuiteName;
  readonly transport: string;
  readonly subjects: readonly Subject[];
  /** Run after the rounds, in this order. */
  readonly soaks: readonly Soak[];
  /** Where it runs, if not simply here: opened when all subjects are prepared, closed after the last measurement. */
  readonly site?: Site;
}

export interface Site {
  /** Settles with what the machine of the measured processes is. */
  open(): Promise<Environment>;
  close(): Promise<void>;
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
  {
    name: 'runtime',
    transport: 'tcp',
    subjects: [splitplaneRuntimeSubject, managerSubject, messagePortSubject],
    soaks: [],
  },
  {
    name: 'rdma',
    transport: 'rdma',
    subjects: [splitplaneRdmaSubject, perftestSubject, ucxRdmaSubject],
    soaks: [],
    site: {
      open: startAgents,
      close: async () => {
        stopAgents();
        await closeHosts();
      },
    },
  },
];
