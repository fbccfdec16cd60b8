// Ctrl-C at a peer that does not answer: the command ends at once, and exits with the code of the signal. By a listener that says
// nothing, a service that never answers, and a server that is stopped.
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { FILES } from '../../lib/cli/files/client.js';
import { MEASURE, type Measure } from '../../lib/cli/perf/contract.js';
import type { NetworkManager } from '../../lib/network/manager.js';
import { FilesService, Runtime, type Handlers } from '../../lib/runtime/index.js';
import { until } from '../support/events.js';
import { HonestMeasure } from './measuring.js';
import { Command, makeDirectory, makeTree, Served } from './support.js';

const endings: (() => void)[] = [];
afterEach(() => {
  for (const end of endings.splice(0)) end();
});

/** HOST:PORT where connections are accepted and nothing is said. */
async function startSilence(): Promise<{ host: string; greeted: Promise<unknown> }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets: Socket[] = [];
  server.on('connection', (socket) => sockets.push(socket.on('error', () => undefined)));
  endings.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    greeted: once(server, 'connection'),
  };
}

test.each(['ping', 'perf', 'get', 'put', 'doctor', 'services'])(
  '%s, before there is a connection',
  async (name) => {
    const { host, greeted } = await startSilence();
    const directory = makeDirectory();
    makeTree(directory, { a: 'a' });
    const places: Record<string, string[]> = {
      get: [`tcp://${host}/a`, directory],
      put: [join(directory, 'a'), `tcp://${host}/a`],
    };
    const command = new Command([name, ...(places[name] ?? [`tcp://${host}`])]);
    await greeted;
    expect(await command.end('SIGINT')).toBe(130);
  },
);

test('get, at a host that does not say what it spends', async () => {
  let wasAsked = false;
  let endSilence: ((why: Error) => void) | undefined;
  class Silent extends HonestMeasure {
    override readonly handlers: Handlers<typeof Measure> = {
      ...new HonestMeasure().handlers,
      usage: () => {
        wasAsked = true;
        return new Promise<never>((_, reject) => {
          endSilence = reject;
        });
      },
    };
  }
  const root = makeDirectory();
  makeTree(root, { a: 'a' });
  const runtime = await Runtime.start({
    name: 'silent',
    security: { off: true },
    network: { listen: ['tcp://127.0.0.1:0'], allowInsecure: false },
  });
  await runtime.add(new FilesService({ root }), { name: FILES });
  await runtime.add(new Silent(), { name: MEASURE });
  const host = runtime.prefix.replace(/^dos:\/\/|\/$/g, '');
  const command = new Command(['get', `${host}:a`, makeDirectory()]);
  await until(() => wasAsked);
  const code = await command.end('SIGINT');
  // Whoever left without a goodbye could come back, which closing in good order would wait for.
  (runtime.network as NetworkManager).destroy();
  endSilence?.(new Error('Nobody waits.'));
  await runtime.close();
  expect(code).toBe(130);
});

test('perf, at a host that has stopped', async () => {
  const { host, command: serve } = await Served.start(makeDirectory());
  const perf = new Command(['perf', `tcp://${host}`, '--only', 'push', '--json']);
  await perf.until(({ lines }) => lines.length > 0);
  serve.signal('SIGSTOP');
  // What it sends now is on its way for ever.
  const code = await perf.end('SIGINT');
  serve.signal('SIGCONT');
  expect(code).toBe(130);
});
