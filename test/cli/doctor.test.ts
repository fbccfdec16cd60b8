// `splitplane doctor` as a real process: on this machine, whatever it has, and against hosts that serve, that do not, that are
// something else, and that lie about themselves.
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, test } from 'vitest';
import { DIAGNOSIS, Diagnosing, type ReportBody } from '../../lib/cli/doctor/contract.js';
import { diagnose } from '../../lib/cli/doctor/diagnosis.js';
import { reportOf, writeReport } from '../../lib/cli/doctor/report.js';
import { Service, type Handlers, type Sending } from '../../lib/runtime/index.js';
import { startListening } from '../support/runtimes.js';
import { Command, makeDirectory, Served, splitplane, type Json, type Outcome } from './support.js';

/** Of a host by itself; `subjects` of several ports and nodes make several findings of one id. */
const IDS_HERE = [
  'libraries',
  'providers',
  'modules',
  'devices',
  'port',
  'net-device',
  'gids',
  'mtu',
  'firewall',
  'device-nodes',
  'locked-memory',
  'transport',
];
const IDS_BETWEEN = [
  'name',
  'route',
  'reachable',
  'control-plane',
  'other-side',
  'versions',
  'mtu-match',
  'data-plane',
  'choice',
];

const servers = new Set<Server>();

afterEach(() => {
  for (const server of servers) server.close();
  servers.clear();
});

function place(outcome: Outcome, where: string): Json[] {
  return outcome.json.filter((finding) => finding['where'] === where);
}

function find(outcome: Outcome, id: string, where = 'between'): Json | undefined {
  return place(outcome, where).find((finding) => finding['id'] === id);
}

class Answering extends Service<typeof Diagnosing> {
  readonly contract = Diagnosing;
  readonly handlers: Handlers<typeof Diagnosing>;

  constructor(report: Sending<typeof ReportBody>) {
    super();
    this.handlers = { diagnose: () => report };
  }
}

/** A host in this process that answers with this report; without one, not at all. */
async function serveHere(report?: Partial<Sending<typeof ReportBody>>): Promise<string> {
  const runtime = await startListening();
  const whole = { version: '1', transports: [], links: [], findings: [], ...report };
  if (report !== undefined) await runtime.add(new Answering(whole), { name: DIAGNOSIS });
  return runtime.prefix.replace(/^dos:\/\/|\/$/g, '');
}

/** A port of loopback on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function expectSound(outcome: Outcome): void {
  const { code, json, errors } = outcome;
  expect(errors).toBe('');
  for (const finding of json) {
    expect(['ok', 'warning', 'problem', 'skipped']).toContain(finding['status']);
    expect(finding['seen']).toMatch(/\w/);
    const wrong = finding['status'] === 'problem' || finding['status'] === 'warning';
    expect(typeof finding['advice']).toBe(wrong ? 'string' : 'undefined');
  }
  expect(code).toBe(json.some(({ status }) => status === 'problem') ? 1 : 0);
}

describe('doctor', () => {
  test('tells every finding of this host, what to do about it, and whether there is a problem', async () => {
    const outcome = await splitplane('doctor', '--json');
    expectSound(outcome);
    const ids = outcome.json.map(({ id }) => id);
    for (const id of IDS_HERE) expect(ids).toContain(id);
    expect(place(outcome, 'here')).toHaveLength(outcome.json.length);
  });

  test('says the same to people, in lines that align and without colour when they go into a file', async () => {
    const { json } = await splitplane('doctor', '--json');
    const { lines } = await splitplane('doctor');
    const text = lines.join('\n');
    for (const { id, status, seen, commands = [] } of json) {
      const head = `${String(status).padEnd(9)}${String(id).padEnd(15)}`;
      expect(lines.some((line) => line.startsWith(head) && line.endsWith(String(seen)))).toBe(true);
      for (const command of commands as string[]) expect(text).toContain(`$ ${command}`);
    }
    expect(text).not.toContain('\u001b');
  });
});

describe('doctor HOST', () => {
  test('goes the whole way to a host that serves, and brings its findings', async () => {
    const { host } = await Served.start(makeDirectory());
    const outcome = await splitplane('doctor', host, '--json');
    expectSound(outcome);
    expect(place(outcome, 'between').map(({ id }) => id)).toEqual(expect.arrayContaining(IDS_BETWEEN));
    for (const id of ['name', 'route', 'reachable', 'control-plane', 'other-side', 'versions'])
      expect(find(outcome, id)?.['status']).toBe('ok');
    // The same machine seen from two processes.
    const told = (where: string): unknown[] =>
      place(outcome, where).map(({ id, status, seen }) => [id, status, seen]);
    expect(told('there')).toEqual(told('here'));
  });

  test('says in one block what is between, and in another what is there', async () => {
    const { host } = await Served.start(makeDirectory());
    const { lines } = await splitplane('doctor', host);
    expect(lines).toContain('This host');
    expect(lines).toContain(`From here to ${host}`);
    expect(lines).toContain(`What ${host} finds at its end, in its own words`);
  });

  test('goes over a unix socket, which RDMA has nothing to do with', async () => {
    const address = `unix:${makeDirectory()}/socket`;
    const serve = new Command(['serve', '--listen', address, '--root', makeDirectory()]);
    await serve.until(({ lines }) => lines.length > 0);
    const outcome = await splitplane('doctor', address, '--json');
    expectSound(outcome);
    expect(find(outcome, 'control-plane')?.['status']).toBe('ok');
    expect(find(outcome, 'data-plane')).toMatchObject({
      status: 'skipped',
      seen: expect.stringMatching(/unix/) as string,
    });
  });

  test('nobody listens: a problem with what to start, and the rest is skipped', async () => {
    const port = await freePort();
    const outcome = await splitplane('doctor', `127.0.0.1:${port}`, '--json');
    expectSound(outcome);
    expect(outcome.code).toBe(1);
    expect(find(outcome, 'reachable')).toMatchObject({
      status: 'problem',
      seen: `nobody listens on TCP port ${port} of 127.0.0.1`,
      commands: [`splitplane serve --listen 127.0.0.1:${port}`],
    });
    for (const id of ['control-plane', 'other-side', 'versions', 'mtu-match', 'data-plane', 'choice'])
      expect(find(outcome, id)).toMatchObject({ status: 'skipped', seen: 'needs what failed above' });
  });

  test('something else listens: told from nobody', async () => {
    const server = createServer((socket) => {
      // Whoever only looks whether anybody is there resets.
      socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n');
    }).listen(0, '127.0.0.1');
    servers.add(server);
    await once(server, 'listening');
    const outcome = await splitplane(
      'doctor',
      `127.0.0.1:${(server.address() as AddressInfo).port}`,
      '--json',
    );
    expectSound(outcome);
    expect(find(outcome, 'reachable')?.['status']).toBe('ok');
    expect(find(outcome, 'control-plane')).toMatchObject({
      status: 'problem',
      seen: expect.stringMatching(/does not answer as splitplane/) as string,
    });
  });

  test('a name that nobody knows', async () => {
    const outcome = await splitplane('doctor', 'no-such-host.invalid', '--json');
    expectSound(outcome);
    expect(find(outcome, 'name')).toMatchObject({
      status: 'problem',
      commands: ['getent hosts no-such-host.invalid'],
    });
  });

  test('beyond this host it connects only when told that this is not protected', async (context) => {
    const address = Object.values(networkInterfaces())
      .flatMap((infos = []) => infos)
      .find(({ internal, family }) => !internal && family === 'IPv4')?.address;
    if (address === undefined) return context.skip('this machine has no address but loopback');
    const serve = new Command([
      'serve',
      '--json',
      '--allow-insecure',
      '--listen',
      `${address}:0`,
      '--root',
      makeDirectory(),
    ]);
    await serve.until(({ lines }) => lines.length > 0);
    const host = String(serve.json[0]?.['listening']).replace('tcp://', '');
    const refused = await splitplane('doctor', host, '--json');
    expectSound(refused);
    expect(find(refused, 'control-plane')).toMatchObject({
      status: 'problem',
      commands: [`splitplane doctor ${host} --allow-insecure`],
    });
    const allowed = await splitplane('doctor', host, '--allow-insecure', '--json');
    expectSound(allowed);
    expect(find(allowed, 'control-plane')?.['status']).toBe('ok');
  });

  test('a host that does not answer diagnoses', async () => {
    const outcome = await splitplane('doctor', await serveHere(), '--json');
    expectSound(outcome);
    expect(find(outcome, 'other-side')).toMatchObject({ status: 'warning', commands: ['splitplane doctor'] });
    expect(place(outcome, 'there')).toEqual([]);
  });

  test('a host of another version', async () => {
    const { facts, findings } = await diagnose([]);
    const host = await serveHere({ ...writeReport(reportOf(facts, findings)), version: '99.0.0' });
    const outcome = await splitplane('doctor', host, '--json');
    expectSound(outcome);
    expect(find(outcome, 'versions')).toMatchObject({
      status: 'warning',
      seen: expect.stringMatching(/, 99\.0\.0 there$/) as string,
    });
  });

  test('a host that lies: nothing of it reaches the terminal as more than text', async () => {
    const evil = '\u202eevil\u0085 text';
    const finding = {
      id: 'mtu',
      status: 'warning',
      seen: evil,
      advice: 'a'.repeat(100_000),
      commands: [],
    } as const;
    const host = await serveHere({ version: evil, findings: [finding] });
    const { lines, errors } = await splitplane('doctor', host);
    expect([...lines, errors.trim()].filter((line) => /\p{C}/u.test(line) || line.length > 1000)).toEqual([]);
    expect(lines.some((line) => line.startsWith('warning  mtu            ?evil? text'))).toBe(true);
  });

  test('a host that answers what is no diagnosis', async () => {
    const host = await serveHere({ findings: [{ id: 'NOT AN ID', status: 'ok', seen: 'x', commands: [] }] });
    const outcome = await splitplane('doctor', host, '--json');
    expectSound(outcome);
    expect(find(outcome, 'other-side')?.['status']).toBe('warning');
  });

  test('many ask at once, and each is answered', async () => {
    const { host } = await Served.start(makeDirectory());
    const outcomes = await Promise.all(Array.from({ length: 3 }, () => splitplane('doctor', host, '--json')));
    for (const outcome of outcomes) expect(find(outcome, 'other-side')?.['status']).toBe('ok');
  });
});
