// The demo over RDMA, on the hosts that these tests share; and what is left of it when it is interrupted, on hosts of its own.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { demonstrate, type DemoEvent } from '../../examples/demonstration.js';
import { hostsOf } from '../../examples/laboratory.js';
import { laboratory, output } from './laboratory.js';

const PROGRAM = fileURLToPath(new URL('../../dist/examples/demo.js', import.meta.url));
/** What a packet of soft-RoCE carries at most. */
const PACKET_BYTES_MAX = 4096;

/** A backstop: a dozen programs start on processors that are emulated. */
const DEMO_MS_MAX = 600_000;

// Goal: a camera's frames, and real files both ways, move over RDMA, and every byte is right. The device's own count of packets says
// that it was it.
test('frames and files from host to host and back', { timeout: DEMO_MS_MAX }, async () => {
  const lab = await laboratory();
  const near = lab.hosts.at(-1) ?? 'a';
  const packets = async (kind: string) =>
    Number(await output(near, `cat /sys/class/infiniband/$LAB_DEVICE/ports/1/hw_counters/${kind}_pkts`));
  const before = lab.virtual ? { sent: await packets('sent'), rcvd: await packets('rcvd') } : undefined;
  const events: DemoEvent[] = [];
  const hosts = await hostsOf(lab, () => Promise.resolve());
  try {
    const result = await demonstrate(hosts, (event) => events.push(event));
    expect(result).toMatchObject({ ok: true, transport: 'rdma', digestsEqual: true });
  } finally {
    await hosts.close();
  }
  const [message] = events.flatMap((event) => event.message ?? []);
  expect(message?.transport).toBe('rdma');
  expect(message?.carriers).toHaveLength(1);
  const [watched] = events.flatMap((event) => event.watched ?? []);
  expect(watched).toMatchObject({ transport: 'rdma', equal: watched?.frames, copiesPerByte: 0 });
  const transfers = events.flatMap(({ transfer }) => transfer ?? []);
  expect(transfers.map(({ transport, digestsEqual }) => [transport, digestsEqual])).toEqual(
    Array.from({ length: 5 }, () => ['rdma', true]),
  );
  if (before === undefined) return;
  const moved = (direction: RegExp): number =>
    transfers.filter(({ name }) => direction.test(name)).reduce((sum, { bytes }) => sum + bytes, 0);
  const gotten = (message?.bytes ?? 0) + (watched?.bytes ?? 0) + moved(/^get/);
  expect((await packets('rcvd')) - before.rcvd).toBeGreaterThanOrEqual(gotten / PACKET_BYTES_MAX);
  expect((await packets('sent')) - before.sent).toBeGreaterThanOrEqual(moved(/^put/) / PACKET_BYTES_MAX);
});

describe('Ctrl-C', () => {
  let folder: string | undefined;

  afterEach(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true });
    folder = undefined;
  });

  /** The demo, with a directory of its own for temporary files. */
  function start(...args: string[]): { child: ChildProcess; folder: string; closed: Promise<unknown[]> } {
    folder = mkdtempSync(path.join(tmpdir(), 'demo-test-'));
    const child = spawn(process.execPath, [PROGRAM, '--json', ...args], {
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return { child, folder, closed: once(child, 'close') };
  }

  /** The command lines of processes that name something in a folder, or have it in their environment. */
  function usersOf(place: string): string[] {
    return readdirSync('/proc').flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return (line + readFileSync(`/proc/${pid}/environ`, 'utf8')).includes(place) ? [line] : [];
      } catch {
        return [];
      }
    });
  }

  // Goal: in the middle of a transfer no process, no file and no network namespace is left.
  test.each([[[]], [['--rdma']]])('%j', async (args) => {
    const demo = start(...args);
    let text = '';
    demo.child.stdout?.on('data', (part) => (text += String(part)));
    // The message comes before the transfers.
    while (!text.includes('"message"')) await once(demo.child.stdout as NodeJS.EventEmitter, 'data');
    expect(usersOf(demo.folder).length).toBeGreaterThan(1);
    demo.child.kill('SIGINT');
    expect((await demo.closed)[0]).toBe(130);
    expect(readdirSync(demo.folder)).toEqual([]);
    expect(usersOf(demo.folder)).toEqual([]);
    const namespaces = readdirSync('/run', { withFileTypes: true }).some(({ name }) => name === 'netns')
      ? readdirSync('/run/netns')
      : [];
    expect(namespaces.filter((name) => name.includes(`-${demo.child.pid}-`))).toEqual([]);
  });
});
