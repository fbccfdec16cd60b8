// A session whose RDMA device is taken away while large messages travel: it goes on over TCP, nothing is lost, doubled or wrong,
// and both sides say what happened. Then RDMA that does not get through: TCP, and the reason.
import { beforeAll, beforeEach, expect, test } from 'vitest';
import type { HostName, Hosts, Job } from '../../ci/lab/lab.mjs';
import { program } from '../support/processes.js';
import { laboratory, output } from './laboratory.js';

const MESSAGES = 6;
const BUFFER_BYTES = 4 << 20;
const DROP =
  "nft 'add table inet lab; add chain inet lab input { type filter hook input priority 0; }; " +
  "add rule inet lab input udp dport 4791 drop'";

let lab: Hosts;
let port = 7400;

beforeAll(async () => {
  lab = await laboratory();
});

beforeEach(() => {
  port++;
});

/** The program of test/support/children with an argument, in which $NAMES are the host's. */
function start(host: HostName, argument: Record<string, unknown>): Job {
  const json = JSON.stringify({ ...argument, allowInsecure: true }).replaceAll('"', String.raw`\"`);
  return lab.spawn(host, `exec ${process.execPath} ${program('failover')} "${json}"`);
}

async function event(job: Job, name: string): Promise<Record<string, unknown>> {
  const [line] = await job.until(new RegExp(`^{"${name}":.*$`, 'm'));
  return JSON.parse(line) as Record<string, unknown>;
}

async function pair(): Promise<{ receiver: Job; sender: Job }> {
  const receiver = start('a', { role: 'receive', listen: `0.0.0.0:${port}` });
  expect((await event(receiver, 'listening'))['addresses']).toEqual([
    `shm://0.0.0.0:${port}`,
    `rdma://0.0.0.0:${port}`,
    `tcp://0.0.0.0:${port}`,
  ]);
  const sender = start('b', {
    role: 'send',
    connect: `$LAB_PEER:${port}`,
    messages: MESSAGES,
    bufferBytes: BUFFER_BYTES,
  });
  return { receiver, sender };
}

async function checkDone(job: Job, failedOver: number): Promise<void> {
  const { done } = await event(job, 'done');
  expect(done).toMatchObject({
    messages: MESSAGES,
    bytes: MESSAGES * BUFFER_BYTES,
    wrong: 0,
    failedOver,
  });
  expect((await job.result).code).toBe(0);
}

// Goal: without a device on either side a session goes on over TCP. Method: the device is deleted in the middle of the messages.
test.each([
  ['the dialer’s', 'b'],
  ['the listener’s', 'a'],
] as const)('%s device is gone: TCP', async (_, host) => {
  const { receiver, sender } = await pair();
  for (const job of [sender, receiver]) {
    expect(await event(job, 'open')).toEqual({ open: 'rdma', passedOver: [] });
  }
  await sender.until(/"sent":0,"transport":"rdma"/);
  await output(host, 'rdma link delete $LAB_DEVICE');
  try {
    const resumed = await event(sender, 'resumed');
    expect(resumed).toMatchObject({ resumed: 'tcp', previous: 'rdma', passedOver: [{ transport: 'rdma' }] });
    expect(await event(receiver, 'resumed')).toEqual({ resumed: 'tcp', previous: 'rdma', passedOver: [] });
    for (const job of [sender, receiver]) await checkDone(job, 1);
  } finally {
    await output(host, 'rdma link add $LAB_DEVICE type rxe netdev eth0');
  }
});

// Goal: what looks usable on both sides and does not get through is passed over, and says so.
test('a filter on the way: TCP from the beginning', async () => {
  await output('a', DROP);
  try {
    const { receiver, sender } = await pair();
    expect(await event(sender, 'open')).toMatchObject({
      open: 'tcp',
      passedOver: [{ transport: 'rdma', code: 'CONNECT_TIMEOUT' }],
    });
    for (const job of [sender, receiver]) await checkDone(job, 0);
  } finally {
    await output('a', 'nft delete table inet lab');
  }
});
