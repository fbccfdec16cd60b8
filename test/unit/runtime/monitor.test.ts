// The monitor's server: what it sends, to whom, how often, and what it refuses. Clients are real ones over loopback.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { Monitor, type MonitorOptions } from '../../../lib/runtime/monitor/monitor.js';
import type { RuntimeSnapshot, ServiceSnapshot } from '../../../lib/runtime/snapshot.js';
import { code, until } from '../../support/events.js';
import { ask, get, next, updatesOf } from '../../support/monitor-client.js';
import { connection, manyServices, PREFIX, service, snapshot } from '../../support/snapshots.js';

const open: Monitor[] = [];
const streams: IncomingMessage[] = [];

afterEach(async () => {
  for (const stream of streams.splice(0)) stream.destroy();
  await Promise.all(open.splice(0).map((monitor) => monitor.close()));
});

async function show(
  source: () => RuntimeSnapshot,
  limits: MonitorOptions['limits'] = { intervalMs: 10 },
): Promise<Monitor> {
  const monitor = await Monitor.open('http://127.0.0.1:0', source, { limits });
  open.push(monitor);
  return monitor;
}

async function stream(monitor: Monitor): Promise<IncomingMessage> {
  const answer = await ask(new URL('events', monitor.url));
  expect(answer.statusCode).toBe(200);
  streams.push(answer);
  return answer;
}

/** More text than the sockets between a server and a client that does not read will hold. */
function bulkyServices(): ServiceSnapshot[] {
  return manyServices(1_000).map((row) => ({ ...row, problem: 'It is slow. '.repeat(1_000) }));
}

describe('the page', () => {
  test('is one document that may load nothing and run nothing but what is inside it', async () => {
    const monitor = await show(snapshot);
    const { status, headers, body } = await get(monitor.url);
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(headers['cross-origin-resource-policy']).toBe('same-origin');
    const policy = headers['content-security-policy'] ?? '';
    for (const element of ['script', 'style']) {
      const inside = new RegExp(`<${element}>(.+?)</${element}>`, 's').exec(body)?.[1] ?? '';
      const hash = createHash('sha256').update(inside).digest('base64');
      expect(policy).toContain(`${element}-src 'sha256-${hash}'`);
    }
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    expect(body.match(/\b(?:src|href)="(?!data:|#|snapshot\.json")[^"]*"|url\(|@import/g)).toBeNull();
  });

  test('is at the address that the monitor tells, by any name of this host', async () => {
    const monitor = await show(snapshot);
    const { port } = new URL(monitor.url);
    expect(monitor.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`, 'LOCALHOST:8080']) {
      expect((await get(monitor.url, { host })).status, host).toBe(200);
    }
  });
});

describe('the snapshot', () => {
  test('is the whole of what the source gives, as JSON', async () => {
    const whole = snapshot({
      services: [
        service('a', { problem: 'It says "no"\n\ndata: x', partners: { b: `${PREFIX}b` } }),
        service('b'),
      ],
      connections: [connection(1), connection(2)],
    });
    const monitor = await show(() => whole);
    const { status, headers, body } = await get(new URL('snapshot.json', monitor.url));
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('application/json');
    expect(JSON.parse(body)).toEqual(whole);
  });

  test('is JSON with ten thousand services, and with none', async () => {
    let whole = snapshot({ services: manyServices(10_000) });
    const monitor = await show(() => whole, { intervalMs: 1 });
    const url = new URL('snapshot.json', monitor.url);
    expect(JSON.parse((await get(url)).body)).toEqual(whole);
    whole = snapshot();
    await until(async () => (JSON.parse((await get(url)).body) as RuntimeSnapshot).services.length === 0);
    expect(JSON.parse((await get(url)).body)).toEqual(whole);
  });

  test('is taken once for all who ask within the interval', async () => {
    let taken = 0;
    const monitor = await show(() => snapshot({ uptimeMs: ++taken }), { intervalMs: 3_600_000 });
    await Promise.all(Array.from({ length: 20 }, () => get(new URL('snapshot.json', monitor.url))));
    await next(updatesOf(await stream(monitor)));
    expect(taken).toBe(1);
  });
});

describe('the stream', () => {
  test('tells everything first and then what changed', async () => {
    let now = snapshot({
      services: [service('a'), service('b'), service('c')],
      connections: [connection(1), connection(2)],
    });
    const monitor = await show(() => now);
    const updates = updatesOf(await stream(monitor));
    const first = await next(updates);
    expect(first.begin).toMatchObject({ whole: true, name: 'camera-host', intervalMs: 10 });
    expect(first.begin).not.toHaveProperty('services');
    expect(first.parts).toEqual([{ services: now.services }, { connections: now.connections }]);

    const [a = service('a'), , c = service('c')] = now.services;
    const b = service('b', { state: 'failed', problem: 'It threw.' });
    const d = service('d');
    now = snapshot({ uptimeMs: 61_000, services: [structuredClone(a), b, d], connections: [connection(2)] });
    let second = await next(updates);
    while (second.begin?.uptimeMs !== 61_000) second = await next(updates);
    expect(second.begin.whole).toBe(false);
    expect(second.parts).toEqual([{ services: [b, d] }, { servicesGone: [c.uri] }, { connectionsGone: [1] }]);
  });

  test('sends ten thousand services in pieces, none of them long', async () => {
    const services = manyServices(10_000);
    const monitor = await show(() => snapshot({ services }));
    const { parts } = await next(updatesOf(await stream(monitor)));
    expect(parts.flatMap((part) => part.services ?? [])).toEqual(services);
    expect(parts.length).toBeGreaterThan(10);
    for (const part of parts) expect(JSON.stringify(part).length).toBeLessThan(70_000);
  });

  test('asks the source only while somebody looks', async () => {
    let taken = 0;
    const monitor = await show(() => snapshot({ uptimeMs: ++taken }));
    expect(taken).toBe(0);
    const answer = await stream(monitor);
    const updates = updatesOf(answer);
    for (let i = 0; i < 3; i++) await next(updates);
    answer.destroy();
    // It has stopped when several intervals pass without another snapshot.
    let before: number;
    do {
      before = taken;
      await new Promise((resolve) => setTimeout(resolve, 100));
    } while (taken !== before);
    await next(updatesOf(await stream(monitor)));
    expect(taken).toBeGreaterThan(before);
  });

  test('gives a viewer that does not read the newest state, not all that it missed', async () => {
    let taken = 0;
    const services = bulkyServices();
    const monitor = await show(() => snapshot({ uptimeMs: ++taken, services }), {
      intervalMs: 1,
      stalledMs: 3_600_000,
    });
    const slow = await stream(monitor);
    slow.pause();
    const quick = updatesOf(await stream(monitor));
    for (let i = 0; i < 5; i++) await next(quick);
    const missed = taken;
    const updates = updatesOf(slow);
    expect((await next(updates)).begin?.uptimeMs).toBe(1);
    expect((await next(updates)).begin?.uptimeMs).toBeGreaterThanOrEqual(missed);
  });

  test('drops a viewer that takes nothing, and gives its place to another', async () => {
    const services = bulkyServices();
    const monitor = await show(() => snapshot({ services }), { intervalMs: 1, viewersMax: 1, stalledMs: 50 });
    (await stream(monitor)).pause();
    const events = new URL('events', monitor.url);
    await until(async () => {
      const answer = await ask(events);
      answer.destroy();
      return answer.statusCode === 200;
    });
  });

  test('has so many places and no more', async () => {
    const monitor = await show(snapshot, { intervalMs: 10, viewersMax: 2 });
    const events = new URL('events', monitor.url);
    const first = await stream(monitor);
    await stream(monitor);
    const refused = await get(events);
    expect(refused.status).toBe(503);
    expect(refused.headers['retry-after']).toBe('5');
    expect((await ask(events, 'HEAD')).statusCode).toBe(503);
    // The page itself and the data for programs are there for everybody.
    expect((await get(monitor.url)).status).toBe(200);
    first.destroy();
    await until(async () => (await ask(events, 'HEAD')).statusCode === 200);
    await next(updatesOf(await stream(monitor)));
  });

  test('says why the runtime cannot be asked, and goes on when it can', async () => {
    let broken = true;
    const monitor = await show(() => {
      if (broken) throw new Error('It is being closed.');
      return snapshot();
    });
    const { status, body } = await get(new URL('snapshot.json', monitor.url));
    expect([status, body]).toEqual([500, 'It is being closed.\n']);
    const updates = updatesOf(await stream(monitor));
    expect((await next(updates)).problem).toBe('It is being closed.');
    broken = false;
    let update = await next(updates);
    while (update.problem !== undefined) update = await next(updates);
    expect(update.begin?.whole).toBe(true);
  });
});

describe('what is refused', () => {
  test('a request under a name that somebody could point at this host', async () => {
    const monitor = await show(snapshot);
    for (const path of ['', 'events', 'snapshot.json']) {
      for (const host of [
        'evil.example',
        'localhost.evil.example',
        '127.0.0.1.evil.example',
        'a@127.0.0.1',
      ]) {
        const { status } = await get(new URL(path, monitor.url), { host });
        expect(status, `${path} of ${host}`).toBe(421);
      }
    }
  });

  test('a request that another web page makes, but not a link to the page', async () => {
    const monitor = await show(snapshot);
    const url = new URL('snapshot.json', monitor.url);
    const { origin } = url;
    const status = async (headers: Record<string, string>) => (await get(url, headers)).status;
    expect(await status({ origin: 'http://evil.example' })).toBe(403);
    expect(await status({ origin: 'null' })).toBe(403);
    expect(await status({ origin: 'http://127.0.0.1:1' })).toBe(403);
    expect(await status({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' })).toBe(403);
    expect(await status({ 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' })).toBe(403);
    expect(await status({ origin, 'sec-fetch-site': 'same-origin' })).toBe(200);
    expect(await status({ 'sec-fetch-site': 'none' })).toBe(200);
    const link = {
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
    };
    expect(await status(link)).toBe(200);
    expect(await status({ ...link, 'sec-fetch-dest': 'iframe' })).toBe(403);
  });

  test('every method but those that read, and every path but three', async () => {
    const monitor = await show(snapshot);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
      const answer = await ask(monitor.url, method);
      expect([answer.statusCode, answer.headers.allow], method).toEqual([405, 'GET, HEAD']);
      answer.destroy();
    }
    for (const path of ['index.html', 'snapshot.json/', '%2e%2e/package.json', 'favicon.ico']) {
      expect((await get(new URL(path, monitor.url))).status, path).toBe(404);
    }
  });

  test('more sockets than it has places for; those it has stay', async () => {
    const monitor = await show(snapshot);
    const updates = updatesOf(await stream(monitor));
    const { port } = new URL(monitor.url);
    const sockets = Array.from({ length: 80 }, () => connect(Number(port), '127.0.0.1'));
    let closed = 0;
    for (const socket of sockets) socket.on('close', () => closed++).on('error', () => undefined);
    await until(() => closed >= 80 - 63);
    await next(updates);
    for (const socket of sockets) socket.destroy();
    await until(async () => (await get(monitor.url).catch(() => undefined))?.status === 200);
  });
});

describe('where it listens', () => {
  test('this host alone, unless it is allowed to listen beyond', async () => {
    expect(await code(Monitor.open('http://0.0.0.0:0', snapshot))).toBe('INSECURE_TRANSPORT');
    expect(await code(Monitor.open('http://[::]:0', snapshot))).toBe('INSECURE_TRANSPORT');
    const monitor = await Monitor.open('http://0.0.0.0:0', snapshot, { allowInsecure: true });
    open.push(monitor);
    const { port } = new URL(monitor.url);
    expect((await get(`http://127.0.0.1:${port}/`)).status).toBe(200);
    expect((await get(`http://127.0.0.1:${port}/`, { host: 'evil.example' })).status).toBe(421);
  });

  test('by a host name or an IPv6 address as well', async () => {
    for (const host of ['localhost', '[::1]']) {
      const monitor = await Monitor.open(`http://${host}:0`, snapshot);
      open.push(monitor);
      expect(new URL(monitor.url).hostname).toBe(host);
      expect((await get(monitor.url)).status).toBe(200);
    }
  });

  test('not at what is no address, and not where somebody else does', async () => {
    const wrong = [
      '',
      '127.0.0.1:0',
      'https://127.0.0.1:0',
      'http://127.0.0.1',
      'http://127.0.0.1:0/x',
      'http://:0',
    ];
    for (const listen of [...wrong, 'http://127.0.0.1:65536', 'http://no-such-host.invalid:0']) {
      expect(await code(Monitor.open(listen, snapshot)), listen).toBe('ADDRESS_INVALID');
    }
    const monitor = await show(snapshot);
    expect(await code(Monitor.open(monitor.url, snapshot))).toBe('ADDRESS_IN_USE');
  });

  test('until it is closed: then streams end and the port is free', async () => {
    const monitor = await show(snapshot);
    const answer = await stream(monitor);
    answer.resume().on('error', () => undefined);
    const ended = once(answer, 'close');
    await Promise.all([monitor.close(), monitor.close()]);
    await ended;
    await monitor.close();
    const again = await Monitor.open(monitor.url, snapshot);
    open.push(again);
    expect(again.url).toBe(monitor.url);
  });
});
