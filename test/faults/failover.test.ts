// Two processes with large messages between them, whose link is broken again and again: everything arrives once, in order and
// right, and both sides are told what carries the connection. Which transport a session goes on over when one dies is shown
// on transports that can be made to die (test/native/protocol_routes_test.cc); here it is the only one there is.
import { expect, test } from 'vitest';
import { NetworkManager, type PassedOver } from '../../lib/index.js';
import { Child } from '../support/processes.js';
import { Proxy } from '../support/proxy.js';

interface Done {
  readonly messages: number;
  readonly bytes: number;
  readonly wrong: number;
  readonly resumed: number;
  readonly failedOver: number;
}

test('links broken under large messages', { timeout: 120_000 }, async () => {
  const messages = 24;
  const bufferBytes = 8 << 20;
  const options = { transports: ['rdma', 'tcp'] };
  const receiver = new Child('failover', { argument: { role: 'receive', listen: '127.0.0.1:0', options } });
  const addresses = await receiver.told<string[]>('addresses');
  const address = addresses.find((each) => each.startsWith('tcp:')) as string;
  const proxy = await Proxy.before(address);
  const connect = proxy.address.replace('tcp://', '');
  const sender = new Child('failover', {
    argument: { role: 'send', connect, messages, bufferBytes, options },
  });
  const cuts = 6;
  for (let cut = 0; cut < cuts; cut++) {
    // In the middle of a buffer: what passes is looked at, not the clock.
    const from = proxy.passed.down + proxy.passed.up + 2.5 * bufferBytes;
    await new Promise<void>((resolve) => {
      proxy.tamper = (bytes) => {
        if (proxy.passed.down + proxy.passed.up < from) return bytes;
        proxy.tamper = undefined;
        resolve();
        return undefined;
      };
    });
    const [interrupted, resumed, previous] = await Promise.all([
      sender.told<string>('interrupted'),
      sender.told<string>('resumed'),
      receiver.told<string>('resumed'),
    ]);
    expect(interrupted).toBe('CONNECTION_LOST');
    expect([resumed, previous]).toEqual(['tcp', 'tcp']);
  }
  for (const child of [sender, receiver]) {
    const done = await child.told<Done>('done');
    expect(done).toMatchObject({ messages, bytes: messages * bufferBytes, wrong: 0, failedOver: 0 });
    expect(done.resumed).toBeGreaterThanOrEqual(cuts);
    expect(await child.exited).toEqual({ code: 0, signal: null });
  }
});

// Goal: whoever connects is told why RDMA does not carry it where it cannot, in the words of `info`.
test('the reason why a better transport is not used', async () => {
  const manager = new NetworkManager();
  const rdma = manager.transports.find(({ name }) => name === 'rdma');
  manager.destroy();
  // Processes of one host would share memory.
  const options = { transports: ['rdma', 'tcp'] };
  const receiver = new Child('failover', { argument: { role: 'receive', listen: '127.0.0.1:0', options } });
  const connect = await receiver.told<string>('listening');
  const sender = new Child('failover', {
    argument: { role: 'send', connect, messages: 1, bufferBytes: 1, options },
  });
  const passedOver = await sender.told<PassedOver[]>('passedOver');
  const { messages, wrong } = await receiver.told<Done>('done');
  expect([messages, wrong]).toEqual([1, 0]);
  expect(await sender.exited).toEqual({ code: 0, signal: null });
  if (rdma?.available !== true) {
    expect(passedOver).toEqual([{ transport: 'rdma', code: 'TRANSPORT_UNAVAILABLE', reason: rdma?.reason }]);
  }
});
