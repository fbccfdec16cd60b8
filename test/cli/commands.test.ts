// The commands that transfer nothing, each as a real process: what they print for people and for programs, and what they
// exit with.
import { describe, expect, test } from 'vitest';
import { Command, makeDirectory, Served, splitplane } from './support.js';

const COMMANDS = [
  'info',
  'doctor',
  'ping',
  'serve',
  'put',
  'get',
  'perf',
  'run',
  'services',
  'call',
  'watch',
];
const METRICS = ['message_rtt', 'message_rate', 'push', 'pull', 'read_rtt', 'write_rtt'];

describe('help', () => {
  test('names every command and every exit code', async () => {
    const { code, lines } = await splitplane('--help');
    const text = lines.join('\n');
    expect(code).toBe(0);
    for (const name of COMMANDS) expect(text).toMatch(new RegExp(`^  ${name} `, 'm'));
    for (const exit of [0, 1, 2, 3, 4, 5, 6, 130]) expect(text).toMatch(new RegExp(`^  ${exit} `, 'm'));
  });

  test.each(COMMANDS)('%s has examples', async (name) => {
    const { code, lines } = await splitplane(name, '--help');
    expect(code).toBe(0);
    expect(lines.join('\n')).toMatch(new RegExp(`^Examples:\n  splitplane ${name}`, 'm'));
  });
});

describe('a wrong command line exits with 2 and a sentence', () => {
  const cases: Record<string, string[]> = {
    'no command of that name': ['fetch'],
    'no host': ['ping'],
    'an option that is none': ['info', '--colour'],
    'a number that is none': ['ping', '127.0.0.1:1', '--count', 'many'],
    'a poll mode that is none': ['serve', '--poll', 'lazy'],
    'a metric that is none': ['perf', '127.0.0.1:1', '--only', 'speed'],
    'an address that is none': ['ping', 'two words'],
    'a place without a host': ['get', 'file', '.'],
    'a host without a path': ['get', '127.0.0.1:7350', '.'],
    'nothing to get': ['get', '127.0.0.1:file'],
    'nothing to put': ['put', '127.0.0.1:file'],
    'several hosts': ['get', '127.0.0.1:a', '127.0.0.2:b', '.'],
  };
  test.each(Object.entries(cases))('%s', async (_, args) => {
    const { code, lines, errors } = await splitplane(...args);
    expect(code).toBe(2);
    expect(lines).toEqual([]);
    expect(errors).not.toMatch(/^\s+at /m);
    expect(errors.length).toBeGreaterThan(20);
  });
});

describe('info', () => {
  test('says which transports there are, why one is missing, and the limits', async () => {
    const { code, json } = await splitplane('info', '--json');
    expect(code).toBe(0);
    expect(json).toHaveLength(1);
    const { transports, limits, encodings } = json[0] ?? {};
    expect(transports).toContainEqual(expect.objectContaining({ name: 'tcp', available: true }));
    for (const { available, reason, capabilities } of transports as Record<string, unknown>[]) {
      if (available === true) expect(capabilities).toHaveProperty('frameBytesMax');
      else expect(reason).toMatch(/\w+ \w+/);
    }
    expect(encodings).toEqual(['fastinfoset', 'xml']);
    expect(limits).toMatchObject({ inlineBytesMax: 4096, messageBytesMax: 1 << 20 });
  });

  test('says the same to people', async () => {
    const { code, lines } = await splitplane('info');
    expect(code).toBe(0);
    expect(lines.join('\n')).toMatch(/^tcp +available: remote read, remote write/m);
    expect(lines.join('\n')).toMatch(/^ +inlineBytesMax +4 KiB/m);
  });
});

describe('ping', () => {
  test('prints a line for each answer and the statistics', async () => {
    const { host } = await Served.start(makeDirectory());
    const { code, lines } = await splitplane('ping', host, '--count', '3', '--interval', '0');
    expect(code).toBe(0);
    expect(lines[0]).toMatch(/^PING 127\.0\.0\.1:\d+ .* over shm, fastinfoset: 64 bytes of payload$/);
    expect(lines.slice(1, 4).map((line) => line.replace(/time=[\d.]+/, 'time=T'))).toEqual(
      [1, 2, 3].map((sequence) => `64 bytes from ${host}: seq=${sequence} time=T ms`),
    );
    expect(lines.slice(4).join('\n')).toMatch(
      /ping statistics ---\n3 asked, 3 answered, time \d+ ms\nrtt min\/avg\/max\/p99 = [\d.]+\/[\d.]+\/[\d.]+\/[\d.]+ ms$/,
    );
  });

  test.each(['1', '4096', '4097', '1M'])('carries %s bytes', async (size) => {
    const { host } = await Served.start(makeDirectory());
    const { code, json } = await splitplane(
      'ping',
      host,
      '--count',
      '2',
      '--interval',
      '0',
      '--size',
      size,
      '--json',
    );
    const bytes = size === '1M' ? 1 << 20 : Number(size);
    expect(code).toBe(0);
    expect(json.slice(0, 2)).toEqual([
      { sequence: 1, bytes, timeMs: expect.any(Number) as number },
      { sequence: 2, bytes, timeMs: expect.any(Number) as number },
    ]);
    expect(json[2]).toMatchObject({ statistics: { asked: 2, answered: 2 } });
  });

  test('goes on until Ctrl-C, and then says what it found', async () => {
    const { host } = await Served.start(makeDirectory());
    const ping = new Command(['ping', host, '--interval', '0.01']);
    await ping.until(({ lines }) => lines.length > 3);
    expect(await ping.end('SIGINT')).toBe(0);
    expect(ping.lines.at(-1)).toMatch(/^rtt min\/avg\/max\/p99/);
  });
});

describe('a connection that cannot be made', () => {
  test('exits with 3 when nobody listens', async () => {
    const { host, command } = await Served.start(makeDirectory());
    await command.end('SIGKILL');
    const { code, errors } = await splitplane('ping', host, '--count', '1');
    expect(code).toBe(3);
    expect(errors).toMatch(/^splitplane: .*\[CONNECTION_REFUSED\]\n$/);
  });

  test('exits with 3 and says so in JSON', async () => {
    const { host, command } = await Served.start(makeDirectory());
    await command.end('SIGKILL');
    const { code, lines, errors } = await splitplane('ping', host, '--count', '1', '--json');
    expect(code).toBe(3);
    expect(lines).toEqual([]);
    expect(JSON.parse(errors)).toMatchObject({ error: { code: 'CONNECTION_REFUSED' } });
  });

  test('exits with 4 when it would go beyond this host unprotected', async () => {
    const { code, errors } = await splitplane('ping', '192.0.2.1:7350', '--count', '1');
    expect(code).toBe(4);
    expect(errors).toMatch(/--allow-insecure/);
  });

  test('so does listening there', async () => {
    const { code, errors } = await splitplane('serve', '--listen', '0.0.0.0:0');
    expect(code).toBe(4);
    expect(errors).toMatch(/\[INSECURE_TRANSPORT\]/);
  });
});

describe('serve', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)(
    'ends with 0 on %s, also with a peer connected',
    async (signal) => {
      const { host, command } = await Served.start(makeDirectory());
      const ping = new Command(['ping', host, '--interval', '3600']);
      await ping.until(({ lines }) => lines.length > 1);
      expect(await command.end(signal)).toBe(0);
      expect(command.errors).toBe('');
      await ping.end('SIGKILL');
    },
  );

  test('says where it listens and what it was asked, to people', async () => {
    const serve = new Command(['serve', '--listen', '127.0.0.1:0', '--root', makeDirectory()]);
    await serve.until(({ lines }) => lines.length > 0);
    const [, host = ''] =
      /^Listening on .*tcp:\/\/(127\.0\.0\.1:\d+), serving /.exec(serve.lines[0] ?? '') ?? [];
    await splitplane('ping', host, '--count', '1');
    await serve.until(({ lines }) => lines.length > 1);
    expect(serve.lines[1]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z pid \d+ Ping 64 B \d+ ms ok$/);
  });

  test('logs nothing with --quiet', async () => {
    const { host, command } = await Served.start(makeDirectory(), { args: ['--quiet'] });
    await splitplane('ping', host, '--count', '1');
    await command.end('SIGTERM');
    expect(command.lines).toHaveLength(1);
  });

  test('exits with 1 when there is no such root, and when the address is taken', async () => {
    const missing = await splitplane('serve', '--listen', '127.0.0.1:0', '--root', `${makeDirectory()}/none`);
    expect(missing.code).toBe(1);
    expect(missing.errors).toMatch(/no such file or directory/);
    const { host } = await Served.start(makeDirectory());
    const taken = await splitplane('serve', '--listen', host);
    expect(taken.code).toBe(1);
    expect(taken.errors).toMatch(/\[ADDRESS_IN_USE\]/);
  });
});

describe('perf', () => {
  test('prints a row for each metric', async () => {
    const { host } = await Served.start(makeDirectory());
    const { code, json } = await splitplane('perf', host, '--quick', '--json');
    expect(code).toBe(0);
    expect(json.map(({ metric }) => metric)).toEqual(METRICS);
    for (const row of json) {
      expect(Object.keys(row)).toEqual([
        'suite',
        'metric',
        'size',
        'transport',
        'unit',
        'median',
        'p99',
        'cpuSecondsPerGB',
        'copiesPerByte',
        'eventLoopDelayP99Ms',
      ]);
      expect(row).toMatchObject({ suite: 'perf', transport: 'shm' });
      for (const name of ['median', 'cpuSecondsPerGB', 'eventLoopDelayP99Ms'])
        expect(row[name]).toBeGreaterThan(0);
    }
  });

  test('bulk is not copied in user space over TCP', async () => {
    const { host } = await Served.start(makeDirectory());
    const { json } = await splitplane('perf', `tcp://${host}`, '--quick', '--json', '--only', 'pull');
    expect(json.length).toBeGreaterThan(0);
    for (const row of json) {
      expect(row).toMatchObject({ metric: 'pull', transport: 'tcp' });
      expect(row['copiesPerByte']).toBeLessThan(0.01);
    }
  });

  test('measures what it is asked to, and prints a table', async () => {
    const { host } = await Served.start(makeDirectory());
    const { code, lines } = await splitplane('perf', host, '--quick', '--only', 'pull', '--only', 'read_rtt');
    expect(code).toBe(0);
    expect(lines[1]).toMatch(/^metric +size +median +p99 +unit/);
    expect(lines.slice(2).map((line) => line.split(' ')[0])).toEqual(['pull', 'read_rtt']);
  });

  test('ends with 130 on Ctrl-C', async () => {
    const { host } = await Served.start(makeDirectory());
    const perf = new Command(['perf', host, '--json']);
    await perf.until(({ lines }) => lines.length > 0);
    expect(await perf.end('SIGINT')).toBe(130);
  });
});
