// The contract of ends that come in the middle of something: from inside of a handler, while a peer is judged, with messages that
// still wait for room.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { code, failure, turns, until } from '../support/events.js';
import { connectTo, envelope, makeManager, makePair } from '../support/managers.js';
import { TRANSPORTS } from '../support/transports.js';

/** Opened from inside of a hook, waited for outside. */
class Gate {
  open!: () => void;
  readonly opened = new Promise<void>((resolve) => {
    this.open = resolve;
  });
}

const unhandled: unknown[] = [];
const note = (error: unknown): unknown => unhandled.push(error);

beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', note);
});

afterEach(() => {
  process.off('unhandledRejection', note);
});

describe.each(TRANSPORTS)('over $name', (transport) => {
  // Goal: what a handler ends may have more to tell in the same round, and nobody is left to hear it.
  test('a manager is destroyed by the first of two connections that end together', async () => {
    const { server, client, address, outgoing } = await makePair(transport, { client: { resumeMs: 0 } });
    const [second] = await connectTo(server, client, address);
    for (const connection of [outgoing, second]) {
      connection.on('close', () => {
        client.destroy();
      });
    }
    server.destroy();
    await Promise.all([outgoing.closed, second.closed]);
    await turns();
    expect(client.connections).toEqual([]);
  });

  // Goal: a request is ended once, by its signal or with the manager, whichever is first.
  test('a handler of a manager that is destroyed aborts what goes over another connection', async () => {
    const { server, client, address, outgoing } = await makePair(transport);
    const [second] = await connectTo(server, client, address);
    const abort = new AbortController();
    outgoing.on('close', () => {
      abort.abort();
    });
    const asked = failure(second.request(envelope(), { signal: abort.signal }));
    await until(() => second.facts.messagesUnacknowledged === 0);
    client.destroy();
    expect((await asked).code).toBe('ABORTED');
  });

  // Goal: a session that ends while somebody judges it is not judged any more. Method: the same signal ends both.
  test('connecting and authenticating are given up together', async () => {
    const server = makeManager();
    const { address } = await server.listen(transport.listenAddress());
    const abort = new AbortController();
    const judging = new Gate();
    const client = makeManager({
      authenticate: () => {
        judging.open();
        return new Promise((_, reject) => {
          abort.signal.addEventListener('abort', () => {
            reject(new Error('given up'));
          });
        });
      },
    });
    const connecting = code(client.connect(address, { signal: abort.signal }));
    await judging.opened;
    abort.abort();
    expect(await connecting).toBe('ABORTED');
    await turns();
    expect(unhandled).toEqual([]);
  });

  // Goal: the same where the manager closes while a peer waits to be let in.
  test('a manager closes while it judges a peer', async () => {
    const [judging, judged] = [new Gate(), new Gate()];
    const server = makeManager({
      authenticate: async () => {
        judging.open();
        await judged.opened;
        return 'somebody';
      },
    });
    const { address } = await server.listen(transport.listenAddress());
    const connecting = failure(makeManager().connect(address));
    await judging.opened;
    const closing = server.close();
    judged.open();
    await closing;
    await connecting;
    expect(unhandled).toEqual([]);
  });
});
