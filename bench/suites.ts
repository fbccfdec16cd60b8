/**
 * Which subjects belong to which suite, in the order in which they are printed. The only file that knows them all.
 */
import { MIB, type Environment, type Subject } from './measurement.js';
import { cMemorySubject, cTcpSubject, cUnixSubject } from './peers/c.js';
import { grpcSubject } from './peers/grpc.js';
import { grpcTunedSubject } from './peers/grpc-tuned.js';
import { http1Subject } from './peers/http1.js';
import { http2Subject } from './peers/http2.js';
import { iperf3Subject } from './peers/iperf3.js';
import { libfabricShmSubject, libfabricTcpSubject } from './peers/libfabric.js';
import { managerSubject } from './peers/manager.js';
import { messagePortSubject } from './peers/message-port.js';
import { messagePortWorkerSubject } from './peers/message-port-worker.js';
import { nodeNetSubject } from './peers/node-net.js';
import { nodeNetUnixSubject } from './peers/node-net-unix.js';
import { perftestSubject } from './peers/perftest.js';
import { ucxRdmaSubject } from './peers/ucx-rdma.js';
import { ucxShmSubject, ucxTcpSubject } from './peers/ucx.js';
import { zeromqIpcSubject } from './peers/zeromq-ipc.js';
import { zeromqSubject } from './peers/zeromq.js';
import type { Soak } from './soak.js';
import { startAgents, stopAgents } from './rdma/agents.js';
import { closeHosts } from './rdma/hosts.js';
import { splitplaneRuntimeSubject } from './subjects/splitplane-runtime.js';
import { splitplaneMicroSubject } from './subjects/splitplane-micro.js';
import { splitplaneRdmaSubject } from './subjects/splitplane-rdma.js';
import { splitplaneShmSubject } from './subjects/splitplane-shm.js';
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
  /** Settles with on how many hosts processes can be, and what the one of the measured processes is. */
  open(): Promise<{ readonly hosts: number; readonly environment: Environment }>;
  close(): Promise<void>;
}

export const SUITES: readonly Suite[] = [
  {
    name: 'tcp',
    transport: 'tcp',
    subjects: [
      splitplaneSubject,
      cTcpSubject,
      iperf3Subject,
      ucxTcpSubject,
      libfabricTcpSubject,
      nodeNetSubject,
      zeromqSubject,
      grpcSubject,
      grpcTunedSubject,
      http1Subject,
      http2Subject,
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
    name: 'shm',
    transport: 'shm',
    subjects: [
      splitplaneShmSubject,
      cMemorySubject,
      cUnixSubject,
      ucxShmSubject,
      libfabricShmSubject,
      nodeNetUnixSubject,
      zeromqIpcSubject,
      messagePortWorkerSubject,
    ],
    soaks: [],
  },
  {
    name: 'runtime',
    transport: 'tcp',
    subjects: [splitplaneRuntimeSubject, managerSubject, messagePortSubject],
    soaks: [],
  },
  {
    name: 'serializer',
    transport: 'none',
    subjects: [splitplaneMicroSubject],
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
