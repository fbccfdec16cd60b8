// The transports that every conformance test runs over. The next transport joins by adding its name here. What a host
// lacks is left out with a printed reason.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

export interface TransportCase {
  /** Shown in the names of tests. */
  readonly name: string;
  /** The name in stats and facts. */
  readonly transport: string;
  /** Whether a registered file that is sent without a checksum is not copied in user space. */
  readonly sendsFilesInPlace: boolean;
  /** Where to listen: a new place at every call. */
  listenAddress(): string;
}

let socketDirectory: string | undefined;
let sockets = 0;

function socketPath(): string {
  socketDirectory ??= mkdtempSync(join(tmpdir(), 'splitplane-test-'));
  return join(socketDirectory, `${++sockets}.sock`);
}

afterAll(() => {
  if (socketDirectory !== undefined && existsSync(socketDirectory))
    rmSync(socketDirectory, { recursive: true });
  socketDirectory = undefined;
});

export const TCP: TransportCase = {
  name: 'tcp',
  transport: 'tcp',
  sendsFilesInPlace: true,
  listenAddress: () => 'tcp://127.0.0.1:0',
};

const TCP_V6: TransportCase = {
  name: 'tcp v6',
  transport: 'tcp',
  sendsFilesInPlace: true,
  listenAddress: () => 'tcp://[::1]:0',
};

const SHM: TransportCase = {
  name: 'shm',
  transport: 'shm',
  sendsFilesInPlace: false,
  listenAddress: () => 'shm://127.0.0.1:0',
};

/** Where the choice is the manager's. */
const UNIX: TransportCase = {
  name: 'unix',
  transport: 'shm',
  sendsFilesInPlace: false,
  listenAddress: () => `unix:${socketPath()}`,
};

function hasIpv6(): boolean {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  if (all.some(({ address }) => address === '::1')) return true;
  console.warn('tcp v6 is left out: this host has no ::1.');
  return false;
}

/** An IP address of an RDMA device of this host; none is looked for, because not every device is there to be tested with. */
export const RDMA_ADDRESS = process.env.SPLITPLANE_RDMA_ADDRESS;

const RDMA: TransportCase = {
  name: 'rdma',
  transport: 'rdma',
  sendsFilesInPlace: false,
  listenAddress: () => `rdma://${RDMA_ADDRESS ?? ''}:0`,
};

/** What a long run shows of the parts above the transport shows over TCP; over a device it is a third as long. */
const LONG_RUN_SHARE = RDMA_ADDRESS === undefined ? 1 : 1 / 3;

/** How often a test repeats what it would do `count` times in a long run. */
export function repetitions(count: number): number {
  return Math.ceil(count * LONG_RUN_SHARE);
}

/** Where a device is named, the others have been tested elsewhere. */
export const TRANSPORTS: readonly TransportCase[] =
  RDMA_ADDRESS === undefined ? [TCP, ...(hasIpv6() ? [TCP_V6] : []), SHM, UNIX] : [RDMA];
