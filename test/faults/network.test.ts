// Faults of networks between two hosts: two network namespaces joined by a veth pair, a process in each, and nftables to
// lose packets. Needs root; whoever is not root is told so.
import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { NetworkManagerOptions } from '../../lib/index.js';
import { Child } from '../support/processes.js';

const SLOW = 120_000;
const QUICK: NetworkManagerOptions = { keepaliveMs: 100, peerTimeoutMs: 1000, connectTimeoutMs: 1000 };

const isRoot = process.getuid?.() === 0;
let hosts: { near: string; far: string } | undefined;
let made = 0;

function sh(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function inside(namespace: string, command: string, ...args: string[]): void {
  sh('ip', 'netns', 'exec', namespace, command, ...args);
}

beforeEach((context) => {
  if (!isRoot) context.skip('network namespaces need root: run as root to prove these rows');
  const name = `sp${process.pid}x${++made}`;
  hosts = { near: `${name}n`, far: `${name}f` };
  const { near, far } = hosts;
  sh('ip', 'netns', 'add', near);
  sh('ip', 'netns', 'add', far);
  sh('ip', 'link', 'add', 'link0', 'netns', near, 'type', 'veth', 'peer', 'name', 'link0', 'netns', far);
  inside(near, 'ip', 'addr', 'add', '10.77.0.1/24', 'dev', 'link0');
  inside(far, 'ip', 'addr', 'add', '10.77.0.2/24', 'dev', 'link0');
  for (const host of [near, far]) {
    inside(host, 'ip', 'link', 'set', 'lo', 'up');
    inside(host, 'ip', 'link', 'set', 'link0', 'up');
  }
});

afterEach(() => {
  for (const name of Object.values(hosts ?? {})) {
    try {
      sh('ip', 'netns', 'del', name);
    } catch {
      // It was never made: beforeEach said why.
    }
  }
  hosts = undefined;
});

/** Drops what comes into `host`: everything, or this share of the packets. */
function drop(host: string, percent = 100): void {
  const rule = percent === 100 ? 'drop' : `numgen random mod 100 < ${percent} drop`;
  inside(host, 'nft', `add table inet lossy; add chain inet lossy in { type filter hook input priority 0; }`);
  inside(host, 'nft', `add rule inet lossy in iifname link0 ${rule}`);
}

function heal(host: string): void {
  inside(host, 'nft', 'delete table inet lossy');
}

/** A process on each host and the connection between them. */
async function connected(
  options: NetworkManagerOptions,
): Promise<{ near: Child; far: Child; nearHost: string; farHost: string }> {
  const { near: nearHost, far: farHost } = hosts as { near: string; far: string };
  const on = (host: string): string[] => ['ip', 'netns', 'exec', host];
  const far = new Child('peer', {
    argument: { listen: 'tcp://10.77.0.2:0', allowInsecure: true, options },
    prefix: on(farHost),
  });
  const near = new Child('peer', { argument: { options }, prefix: on(nearHost) });
  const address = await far.told<string>('listening');
  near.tell({ connect: address, options: { allowInsecure: true } });
  await Promise.all([near.told('opened'), far.told('opened')]);
  return { near, far, nearHost, farHost };
}

describe.each([
  ['link drops both ways', ['near', 'far']],
  ['link drops one way: nothing comes back', ['near']],
  ['link drops one way: nothing gets there', ['far']],
] as const)('%s', (_, deaf) => {
  // Goal: found by both sides within the time that was set, and the transfer goes on where the link comes back.
  test('found, and the session goes on', { timeout: SLOW }, async () => {
    const { near, far } = await connected(QUICK);
    const { near: nearHost, far: farHost } = hosts as { near: string; far: string };
    near.tell({ pull: 512 << 20 });
    near.tell({ stats: true });
    await near.told('stats');
    for (const side of deaf) drop(side === 'near' ? nearHost : farHost);
    expect(['PEER_UNRESPONSIVE', 'CONNECTION_LOST']).toContain(await near.told('interrupted'));
    expect(['PEER_UNRESPONSIVE', 'CONNECTION_LOST']).toContain(await far.told('interrupted'));
    for (const side of deaf) heal(side === 'near' ? nearHost : farHost);
    await Promise.all([near.told('resumed'), far.told('resumed')]);
    expect(await near.told('pulled')).toBe(512 << 20);
    near.tell({ send: 10 });
    expect(await near.told('sent')).toBe(10);
  });
});

// Goal: a cable that is pulled for good ends the session on both sides, with what was outstanding.
test('link drops for good: typed error', { timeout: SLOW }, async () => {
  const { near, far, nearHost } = await connected({ ...QUICK, resumeMs: 500 });
  near.tell({ pull: 512 << 20 });
  near.tell({ stats: true });
  await near.told('stats');
  inside(nearHost, 'ip', 'link', 'set', 'link0', 'down');
  const codes = ['PEER_UNRESPONSIVE', 'CONNECTION_LOST', 'SESSION_EXPIRED', 'CONNECT_TIMEOUT', 'SYSTEM'];
  expect(codes).toContain(await near.told('failed'));
  expect(codes).toContain(await near.told('closed'));
  expect(codes).toContain(await far.told('closed'));
  near.tell({ stats: true });
  const { memory, operations } = await near.told<{ memory: { buffers: number }; operations: number }>(
    'stats',
  );
  expect([memory.buffers, operations]).toEqual([0, 0]);
});

// Goal: every byte right, only slower. The losses begin when the connection is open: whether one opens is luck.
test.each([
  [1, 32 << 20],
  [10, 4 << 20],
  [20, 1 << 20],
])('packet loss %i %%', { timeout: SLOW }, async (percent, bytes) => {
  const { near, nearHost, farHost } = await connected({});
  drop(nearHost, percent);
  drop(farHost, percent);
  near.tell({ pull: bytes });
  near.tell({ send: 50 });
  expect(await near.told('pulled')).toBe(bytes);
  expect(await near.told('sent')).toBe(50);
});
