// The contract of addresses: what is one, what may be reached in clear, and what each thing at the other end that is no peer
// ends as. How addresses are read is test/unit/network's affair.
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { element, NetworkManager } from '../../lib/index.js';
import { code, failure } from '../support/events.js';
import { envelope, makeManager, take, valueOf } from '../support/managers.js';
import { TCP } from '../support/transports.js';

describe('addresses', () => {
  // Goal: plaintext beyond this host is asked for explicitly, and the message says how.
  test('INSECURE_TRANSPORT unless allowed', async () => {
    const server = makeManager({}, NetworkManager);
    const client = makeManager({}, NetworkManager);
    const refused = await failure(server.listen('tcp://0.0.0.0:0'));
    expect(refused.code).toBe('INSECURE_TRANSPORT');
    expect(refused.message).toContain('allowInsecure');
    expect(await code(server.listen('tcp://[::]:0'))).toBe('INSECURE_TRANSPORT');
    expect(await code(client.connect('tcp://192.0.2.1:7350'))).toBe('INSECURE_TRANSPORT');
    const { address } = await server.listen('tcp://0.0.0.0:0', { allowInsecure: true });
    const port = new URL(address.replace('tcp:', 'http:')).port;
    const connection = await client.connect(`tcp://127.0.0.1:${port}`);
    expect(connection.peer.localOnly).toBe(true);
  });

  // Goal: what is no address, and a host that does not exist, are told apart from what cannot be reached.
  test('ADDRESS_INVALID', async () => {
    const manager = makeManager();
    for (const address of [
      '',
      'tcp://',
      'tcp://127.0.0.1:65536',
      'tcp://127.0.0.1:x',
      'tcp://[::1',
      'unix:',
      `unix:/${'x'.repeat(200)}`,
      'tcp://host with spaces:1',
      '::1:7350',
      'tcp://nobody.invalid:1',
    ]) {
      expect(await code(manager.connect(address)), address).toBe('ADDRESS_INVALID');
      expect(await code(manager.listen(address)), address).toBe('ADDRESS_INVALID');
    }
    expect(await code(manager.connect('quic://127.0.0.1:1'))).toBe('TRANSPORT_UNAVAILABLE');
    expect(await code(manager.send(envelope()))).toBe('ADDRESS_INVALID');
    expect(await code(manager.send(envelope('', { to: 'http://x/y' })))).toBe('ADDRESS_INVALID');
  });

  // Goal: a transport that cannot work here says why, and is not replaced silently.
  test('TRANSPORT_UNAVAILABLE with its reason', async () => {
    const manager = makeManager();
    for (const { name, available, reason, capabilities } of manager.transports) {
      if (available) {
        expect(capabilities?.frameBytesMax).toBeGreaterThan(0);
        continue;
      }
      expect(reason?.length).toBeGreaterThan(10);
      const refused = await failure(manager.connect(`${name}://127.0.0.1:1`));
      expect(refused.code).toBe('TRANSPORT_UNAVAILABLE');
      expect(refused.message).toContain(reason);
    }
    expect(manager.transports.find(({ name }) => name === 'tcp')?.available).toBe(true);
  });

  // Goal: nobody listening, and somebody who listens and says nothing or nonsense, each end as what they are.
  test('CONNECTION_REFUSED, CONNECT_TIMEOUT, PROTOCOL_VIOLATION', async () => {
    const client = makeManager({ connectTimeoutMs: 100 });
    const silent = createServer((socket) => socket.on('error', () => undefined));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    expect(await code(client.connect(`tcp://127.0.0.1:${port}`))).toBe('CONNECT_TIMEOUT');
    silent.close();

    const stranger = createServer((socket) => {
      socket.on('error', () => undefined).resume();
      socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 200\r\n\r\n'.padEnd(400, '.'));
    });
    stranger.listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    const { port: strange } = stranger.address() as AddressInfo;
    expect(await code(client.connect(`tcp://127.0.0.1:${strange}`))).toBe('PROTOCOL_VIOLATION');
    stranger.close();
    await once(stranger, 'close');
    expect(await code(client.connect(`tcp://127.0.0.1:${strange}`))).toBe('CONNECTION_REFUSED');
    expect(client.connections).toEqual([]);
  });

  // Goal: wsa:To says where a message goes; one connection serves all messages to there.
  test('manager.send goes to wsa:To', async () => {
    const server = makeManager();
    const client = makeManager();
    const { address } = await server.listen(TCP.listenAddress());
    const to = `${address.replace('tcp:', 'dos:')}/service`;
    await Promise.all([1, 2, 3].map((index) => client.send(envelope(index, { to }))));
    expect([await take(server), await take(server), await take(server)].map(valueOf)).toEqual([
      '1',
      '2',
      '3',
    ]);
    expect(client.connections).toHaveLength(1);
    const asking = client.request(envelope('?', { to }));
    const message = await take(server);
    await message.reply({ action: 'urn:re', body: element('', 'R', '!') });
    expect(valueOf(await asking)).toBe('!');
    await client.connections[0]?.close();
    await client.send(envelope('again', { to }));
    expect(valueOf(await take(server))).toBe('again');
  });

  // Goal: a connection that messages share is not used for who expects somebody else at its end.
  test('expectedNodeId holds for a connection that is there already', async () => {
    const server = makeManager();
    const client = makeManager();
    const { address } = await server.listen(TCP.listenAddress());
    const to = address.replace('tcp:', 'dos:');
    const shared = await client.connectionTo(to, { expectedNodeId: server.nodeId });
    expect(await client.connectionTo(to)).toBe(shared);
    const expectedNodeId = '1'.padStart(32, '0');
    expect(await code(client.send(envelope('secret', { to }), { expectedNodeId }))).toBe('IDENTITY_MISMATCH');
    expect([shared.state, shared.facts.messagesSent]).toEqual(['open', 0]);
  });
});
