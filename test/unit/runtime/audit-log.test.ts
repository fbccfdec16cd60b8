// Proves the audit log: every refusal is there each time and every decision to allow once with its count; the file has whole
// lines of ASCII whatever names peers chose; what is missing is counted; a disk that fails is told once and asked again.

import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  AuditFile,
  LINES_AT_ONCE_MAX,
  LINES_PER_SECOND_MAX,
  PENDING_BYTES_MAX,
} from '../../../lib/runtime/audit-file.js';
import {
  AUDIT_ENTRIES_MAX,
  AuditLog,
  type AuditEntry,
  type AuditInit,
} from '../../../lib/runtime/audit-log.js';
import { POLICY_NAMESPACE } from '../../../lib/runtime/policy.js';
import { SecurityManager } from '../../../lib/runtime/security-manager.js';

const folder = mkdtempSync(join(tmpdir(), 'audit-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const newPath = (): string => join(folder, `${++files}.log`);
const fail = (text: string): void => {
  throw new Error(`unexpected: ${text}`);
};
/** A clock that stands at the beginning of a day. */
const START = Date.UTC(2026, 0, 1);
const still = { now: () => START, log: fail };

function linesOf(path: string): Record<string, unknown>[] {
  const text = readFileSync(path, 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .slice(0, -1)
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

const refusal = (path: string): AuditInit => ({
  decision: 'refused',
  kind: 'message',
  principal: 'uid:1',
  verb: 'Get',
  path,
});

describe('of a security manager', () => {
  test('has every refusal each time, and what is allowed once, with the line of the rule', async () => {
    const policy = join(folder, 'policy.xml');
    writeFileSync(
      policy,
      `<policy xmlns="${POLICY_NAMESPACE}">\n<allow roles="*" verbs="Get" path="/a"/>\n` +
        '<deny roles="*" verbs="*" contract="urn:no"/>\n<allow roles="*" register="a"/></policy>',
    );
    const audit = newPath();
    let now = START;
    const manager = await SecurityManager.load(
      { off: false, policy, audit },
      { now: () => now++, log: fail },
    );
    const common = { principal: 'uid:1', verb: 'Get', contract: undefined } as const;
    manager.registration('service:a', 'a');
    for (let i = 0; i < 5; i++) manager.message({ ...common, path: 'a' });
    for (let i = 0; i < 2; i++) manager.message({ ...common, path: 'b' });
    manager.message({ ...common, verb: undefined, path: 'a', contract: 'urn:no' });
    manager.memory({ ...common, path: 'a' });

    const expected: Omit<AuditEntry, 'time'>[] = [
      { decision: 'allowed', kind: 'registration', principal: 'service:a', path: '/a', rule: 4, count: 1 },
      {
        decision: 'allowed',
        kind: 'message',
        principal: 'uid:1',
        verb: 'Get',
        path: '/a',
        rule: 2,
        count: 5,
      },
      { decision: 'refused', kind: 'message', principal: 'uid:1', verb: 'Get', path: '/b', count: 1 },
      { decision: 'refused', kind: 'message', principal: 'uid:1', verb: 'Get', path: '/b', count: 1 },
      {
        decision: 'refused',
        kind: 'message',
        principal: 'uid:1',
        path: '/a',
        contract: 'urn:no',
        rule: 3,
        count: 1,
      },
      { decision: 'allowed', kind: 'memory', principal: 'uid:1', verb: 'Get', path: '/a', rule: 2, count: 1 },
    ];
    const entries = manager.audit.entries();
    expect(entries).toEqual(expected.map((entry) => ({ time: expect.any(String) as string, ...entry })));
    expect(entries.map(({ time }) => time)).toEqual(
      entries.map(({ time }) => new Date(time).toISOString()).sort(),
    );
    await manager.close();

    const lines = linesOf(audit);
    // When it was decided the count was 1; at the end those that had risen are there once more.
    expect(lines.slice(0, 6)).toEqual(entries.map((entry) => ({ ...entry, count: 1 })));
    expect(lines.slice(6)).toEqual([entries[1]]);
    expect(statSync(audit).mode & 0o777).toBe(0o600);
  });
});

describe('in memory', () => {
  test('the last entries stand, in order', async () => {
    const log = await AuditLog.open(undefined, still);
    expect(log.entries()).toEqual([]);
    for (let i = 0; i < AUDIT_ENTRIES_MAX + 10; i++) log.add(refusal(`/${i}`));
    const paths = log.entries().map(({ path }) => path);
    expect(paths).toHaveLength(AUDIT_ENTRIES_MAX);
    expect([paths[0], paths.at(-1)]).toEqual(['/10', `/${AUDIT_ENTRIES_MAX + 9}`]);
    await log.close();
  });
});

describe('in a file', () => {
  test('names that peers chose stay inside their line, in ASCII', async () => {
    const path = newPath();
    const log = await AuditLog.open(path, still);
    const names = [
      '/a\n{"forged":true}',
      '/a\r\u2028\u2029\u0085',
      '/\u001b[31mred',
      '/\u202Eevil',
      '/\u{1F600}\ud800',
      '/\0"\\',
    ];
    for (const name of names) log.add(refusal(name));
    await log.close();
    expect(readFileSync(path, 'latin1')).toMatch(/^[\x20-\x7e\n]*$/);
    expect(linesOf(path).map((line) => line['path'])).toEqual(names);
  });

  test('is appended to, after a line that was cut off by the end of a process', async () => {
    const path = newPath();
    writeFileSync(path, '{"time":"2025');
    const log = await AuditLog.open(path, still);
    log.add(refusal('/a'));
    await log.close();
    const again = await AuditLog.open(path, still);
    again.add(refusal('/b'));
    await again.close();
    const lines = readFileSync(path, 'utf8').split('\n');
    expect(lines).toEqual([
      '{"time":"2025',
      expect.stringContaining('/a'),
      expect.stringContaining('/b'),
      '',
    ]);
  });

  test('a flood is written up to a rate, and what is missing is counted', async () => {
    const path = newPath();
    let now = START;
    const log = await AuditLog.open(path, { ...still, now: () => now });
    for (let i = 0; i < LINES_AT_ONCE_MAX + 7; i++) log.add(refusal('/flood'));
    expect(log.dropped).toBe(7);
    now += 1000;
    for (let i = 0; i < LINES_PER_SECOND_MAX + 2; i++) log.add(refusal('/later'));
    expect(log.dropped).toBe(9);
    // A clock that is set back gives nothing and takes nothing.
    now -= 3_600_000;
    log.add(refusal('/past'));
    expect(log.dropped).toBe(10);
    await log.close();
    const lines = linesOf(path);
    const count = (name: string): number => lines.filter((line) => line['path'] === name).length;
    expect([count('/flood'), count('/later'), count('/past')]).toEqual([
      LINES_AT_ONCE_MAX,
      LINES_PER_SECOND_MAX,
      0,
    ]);
    const notices = lines.filter(({ kind }) => kind === 'dropped');
    expect(notices.reduce((sum, notice) => sum + Number(notice['count']), 0)).toBe(10);
  });

  test('a flood of refusals does not hide what was allowed', async () => {
    const path = newPath();
    const log = await AuditLog.open(path, still);
    for (let i = 0; i < 2 * LINES_AT_ONCE_MAX; i++) log.add(refusal(`/${'flood'.repeat(50)}`));
    log.add({ ...refusal('/goal'), decision: 'allowed' });
    await log.close();
    expect(linesOf(path).filter((line) => line['path'] === '/goal')).toHaveLength(1);
    expect(log.dropped).toBeGreaterThanOrEqual(LINES_AT_ONCE_MAX);
  });

  test('what waits for the disk is bounded', async () => {
    const path = newPath();
    const file = await AuditFile.open(path, still);
    const line = JSON.stringify('x'.repeat(64 * 1024));
    const fitting = Math.floor(PENDING_BYTES_MAX / (line.length + 1));
    // Nothing is written before this function gives the event loop back.
    for (let i = 0; i < fitting + 5; i++) file.append(line, 'allowed');
    expect(file.dropped).toBeGreaterThanOrEqual(3);
    await file.close();
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(lines.filter((written) => written === line).length + file.dropped).toBe(fitting + 5);
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ kind: 'dropped', count: file.dropped });
  });

  test('a disk that is full is told once, and does not stop anybody', async () => {
    const said: string[] = [];
    const log = await AuditLog.open('/dev/full', { ...still, log: (text) => said.push(text) });
    for (let i = 0; i < 100; i++) log.add(refusal('/a'));
    await log.close();
    expect(said).toEqual([expect.stringMatching(/\/dev\/full cannot be written: ENOSPC.*Lines are missing/)]);
    expect(log.dropped).toBe(100);
    expect(log.entries()).toHaveLength(100);
  });

  test('a disk that has room again gets the count of all that is missing', async () => {
    const path = newPath();
    expect(spawnSync('mkfifo', [path]).status).toBe(0);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const readAll = (): string => {
      const bytes = Buffer.alloc(1 << 20);
      return bytes.toString('latin1', 0, readSync(reader, bytes));
    };
    const said: string[] = [];
    const file = await AuditFile.open(path, { ...still, log: (text) => said.push(text) });
    const dropped = async (count: number): Promise<void> => {
      while (file.dropped < count) await new Promise(setImmediate);
    };
    // More than a pipe holds, twice.
    for (const count of [1, 2]) {
      file.append(JSON.stringify('x'.repeat(1 << 20)), 'refused');
      await dropped(count);
    }
    expect(readAll()).toMatch(/^"x+$/);
    file.append('"y"', 'refused');
    await file.close();
    // What was cut off has a line of its own.
    const [torn, line, notice, end] = readAll().split('\n');
    expect([torn, line, end]).toEqual(['', '"y"', '']);
    expect(JSON.parse(notice ?? '')).toMatchObject({ kind: 'dropped', count: 2 });
    expect(said).toHaveLength(1);
    closeSync(reader);
  });

  test('closing twice is closing once, and what comes later is in memory only', async () => {
    const path = newPath();
    const log = await AuditLog.open(path, still);
    log.add(refusal('/a'));
    await Promise.all([log.close(), log.close()]);
    log.add(refusal('/b'));
    await log.close();
    expect(linesOf(path)).toHaveLength(1);
    expect(log.entries()).toHaveLength(2);
  });

  test('that cannot be opened is an error', async () => {
    await expect(AuditLog.open(folder, still)).rejects.toMatchObject({ code: 'SYSTEM' });
    await expect(AuditLog.open(join(folder, 'no', 'audit.log'), still)).rejects.toMatchObject({
      code: 'SYSTEM',
    });
  });
});
