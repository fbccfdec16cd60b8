// Proves the node service: the facts are those of this machine and process, transports say why they cannot be used, and the
// snapshot is that of the runtime, as much of it as fits into a message.
import { arch, cpus, hostname, platform, totalmem } from 'node:os';
import { describe, expect, test } from 'vitest';
import { contract, Node, Service, type Runtime } from '../../../../lib/runtime/index.js';
import { SNAPSHOT_ROWS_MAX } from '../../../../lib/runtime/services/node.js';
import { version } from '../../../../lib/runtime/version.js';
import { until } from '../../../support/events.js';
import { makeManager } from '../../../support/managers.js';
import { PLACES, startListening, startRuntime } from '../../../support/runtimes.js';

const Silent = contract('urn:splitplane:test:silent:1', {});
class SilentService extends Service<typeof Silent> {
  readonly contract = Silent;
  readonly handlers = {};
}

const nodeOf = (home: Runtime, from = home) => from.proxy(Node, `${home.prefix}node`);

describe.each(PLACES)('asked from the $name', (place) => {
  test('the facts are those of this machine and process', async () => {
    const { home, away } = await place.start();
    const node = await nodeOf(home, away).get();
    expect(node).toMatchObject({
      hostname: hostname(),
      platform: platform(),
      arch: arch(),
      pid: process.pid,
      versions: { splitplane: version, node: process.versions.node },
    });
    expect(node.cpus.count).toBe(cpus().length);
    expect(node.cpus.load).toHaveLength(3);
    expect(node.memory.totalBytes).toBe(totalmem());
    expect(node.memory.residentBytes).toBeGreaterThan(node.memory.heapBytes);
    expect(node.uptimeMs).toBeGreaterThan(0);
    expect((await nodeOf(home, away).get()).uptimeMs).toBeGreaterThan(node.uptimeMs);
  });

  test('the snapshot is that of the runtime', async () => {
    const { home, away } = await place.start();
    await home.add(new SilentService(), { name: 'camera' });
    const told = await nodeOf(home, away).snapshot();
    const { name, prefix, nodeId, services } = home.snapshot();
    expect(told).toMatchObject({ name, prefix, serviceCount: services.length });
    expect(told.nodeId).toBe(nodeId);
    expect(told.services.map((service) => service.uri)).toEqual(services.map(({ uri }) => uri));
    expect(told.connectionCount).toBe(told.connections.length);
    if (home === away) return;
    expect(told.connections).toMatchObject([{ state: 'open', transport: 'tcp', principal: 'local' }]);
    expect(told.connections[0]?.received.messages).toBeGreaterThan(0);
    expect(told.messages.in).toBe(home.snapshot().messages.in);
  });

  test('a snapshot of more services than a message holds says how many there are', async () => {
    const { home, away } = await place.start();
    for (let at = 0; at < SNAPSHOT_ROWS_MAX; at++) {
      await home.add(new SilentService(), { name: `${'long/'.repeat(48)}${at}` });
    }
    const told = await nodeOf(home, away).snapshot();
    expect(told.serviceCount).toBe(home.snapshot().services.length);
    expect(told.services.length).toBeLessThanOrEqual(SNAPSHOT_ROWS_MAX);
    expect(told.services.length).toBeGreaterThan(SNAPSHOT_ROWS_MAX / 4);
  });
});

test('a peer that calls itself what no message can hold is shown all the same', async () => {
  const runtime = await startListening();
  await makeManager({ identity: 'x\uffffy' }).connect(runtime.listening[0]?.address ?? '');
  await until(() => runtime.snapshot().connections.length === 1);
  const { connections } = await nodeOf(runtime).snapshot();
  expect(connections[0]?.peer).toMatch(/^x\ufffdy at /);
});

test('a runtime that listens says where, over what, and why not over the rest', async () => {
  const runtime = await startListening();
  const { transports, listening } = await nodeOf(runtime).get();
  expect(listening.map(({ address }) => `dos://${address.replace('tcp://', '')}/`)).toEqual([runtime.prefix]);
  expect(listening[0]?.addresses).toEqual([listening[0]?.address]);
  expect(transports.map(({ name }) => name)).toEqual(runtime.network?.transports.map(({ name }) => name));
  expect(transports.find(({ name }) => name === 'tcp')?.available).toBe(true);
  for (const { available, reason } of transports) expect(available || (reason ?? '').length > 10).toBe(true);
});

test('a runtime without a network binding has no transports and listens nowhere', async () => {
  const node = await nodeOf(await startRuntime()).get();
  expect(node).toMatchObject({ transports: [], listening: [] });
});
