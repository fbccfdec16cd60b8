// What the two sides of `doctor HOST` tell each other: it arrives as it was sent; what a hostile peer sends is refused, or cut
// and cleaned; and what the two sides make together is judged.
import { describe, expect, test } from 'vitest';
import { compareLinks, compareVersions, linkOf } from '../../../lib/cli/doctor/between.js';
import { examine } from '../../../lib/cli/doctor/diagnosis.js';
import { readReport, reportOf, writeReport, type Report } from '../../../lib/cli/doctor/report.js';
import { ReportBody } from '../../../lib/cli/doctor/contract.js';
import type { Sending } from '../../../lib/runtime/index.js';
import { element, type XmlElement } from '../../../lib/soap/infoset.js';
import { hostWith, netDevice, PORT, type Changes } from './doctor-host.js';

async function reportWith(changes: Changes = {}, version = '1.0.0'): Promise<Report> {
  const facts = await hostWith(changes, { version });
  return reportOf(facts, examine(facts));
}

const NAMESPACE = 'urn:splitplane:diagnosis:1';
type Written = Sending<typeof ReportBody>;

/** What arrives of a report: as elements, and back. */
function arrived(report: Partial<Written>): Report {
  const whole = { version: '1', transports: [], links: [], findings: [], ...report };
  return read(
    ReportBody.encode(NAMESPACE, whole, { attach: () => expect.fail('There are no buffers in it.') }),
  );
}

function read(body: XmlElement): Report {
  return readReport(ReportBody.decode(body, () => undefined));
}

/** Elements that no report of ours has. */
function written(...children: [name: string, fields: Record<string, string>][]): XmlElement {
  const fields = (of: Record<string, string>) =>
    Object.entries(of).map(([name, text]) => element(NAMESPACE, name, text));
  return element(
    NAMESPACE,
    'DiagnoseResponse',
    children.map(([name, of]) =>
      name === 'version' ? element(NAMESPACE, name, of.text ?? '') : element(NAMESPACE, name, fields(of)),
    ),
  );
}

const LINK = {
  port: 'rxe0/1',
  netDevice: 'eth0',
  netMtu: 1500,
  rdmaMtu: 1024,
  gids: 2,
  addresses: ['198.51.100.1'],
};
const FINDING = { id: 'mtu', status: 'ok', seen: 'all is well', commands: [] } as const;
const VERSION: [string, Record<string, string>] = ['version', { text: '1' }];
const WRITTEN_LINK = { port: 'rxe0/1', netDevice: 'eth0', netMtu: '1500', rdmaMtu: '1024', gids: '2' };

describe('a report', () => {
  test('arrives as it was sent, its findings as those of the other side', async () => {
    const report = await reportWith(netDevice('eth0', { mtu: 1500 }));
    expect(report.findings.some(({ commands }) => commands !== undefined)).toBe(true);
    const there = report.findings.map((finding) => ({ ...finding, where: 'there' }));
    expect(arrived(writeReport(report))).toEqual({ ...report, findings: there });
  });

  const finding = { id: 'mtu', status: 'ok', seen: 'x' };
  const hostile: Readonly<Record<string, () => Report>> = {
    'no version': () => read(written()),
    'a status that is none': () => read(written(VERSION, ['findings', { ...finding, status: 'fine' }])),
    'an id that is none': () => arrived({ findings: [{ ...FINDING, id: 'x y' }] }),
    'nothing seen': () => read(written(VERSION, ['findings', { id: 'mtu', status: 'ok' }])),
    'an MTU that is none': () => read(written(VERSION, ['links', { ...WRITTEN_LINK, netMtu: '-1' }])),
    'an MTU beyond any': () =>
      read(written(VERSION, ['links', { ...WRITTEN_LINK, rdmaMtu: '1000000000000' }])),
    'too many findings': () => arrived({ findings: Array.from({ length: 257 }, () => FINDING) }),
    'too many commands': () =>
      arrived({ findings: [{ ...FINDING, commands: Array.from({ length: 9 }, () => 'true') }] }),
    'too many ports': () => arrived({ links: Array.from({ length: 65 }, () => LINK) }),
  };
  test.each(Object.entries(hostile))('is refused with %s', (_, reading) => {
    expect(reading).toThrow(/Correct the sender|Send what the contract/);
  });

  test('moves no cursor, changes no direction of writing, and is cut to length', () => {
    // The rest of what moves a terminal is no text that XML can hold.
    const evil = '\u009b31mrm\r\n\u202e\u0085\ue000';
    const long = 'x'.repeat(5000);
    const { version, links, findings } = arrived({
      version: `1${evil}`,
      links: [
        {
          ...LINK,
          port: 'rxe0; rm -r *',
          netDevice: evil,
          addresses: ['198.51.100.1', evil, 'nonsense', 'fd00::1'],
        },
      ],
      findings: [{ ...FINDING, seen: evil, subject: long, advice: evil, commands: [evil] }],
    });
    const texts = [
      version,
      links[0]?.netDevice,
      ...findings.flatMap((one) => [one.seen, one.advice, one.commands?.[0]]),
    ];
    for (const text of texts) expect(text).not.toMatch(/\p{C}/u);
    expect(links[0]?.port).toBe('rxe0??rm?-r??');
    expect(links[0]?.addresses).toEqual(['198.51.100.1', 'fd00::1']);
    expect(findings[0]?.subject?.length).toBe(600);
  });
});

describe('the two sides together', () => {
  const way = { host: 'far', netDevice: 'eth0', address: '198.51.100.1' };

  test('are fine when they are alike', async () => {
    const both = await reportWith();
    expect(compareLinks(both, both, way).map(({ id, status }) => [id, status])).toEqual([
      ['mtu-match', 'ok'],
    ]);
    expect(compareVersions(both, both, 'far').status).toBe('ok');
  });

  test.each([
    [4200, 1500, /At far/],
    [1500, 4200, /Here/],
  ])('have unequal MTUs: %d here, %d there', async (here, there, side) => {
    const mine = await reportWith(netDevice('eth0', { mtu: here }));
    const theirs = await reportWith(netDevice('eth0', { mtu: there }));
    const [finding] = compareLinks(mine, theirs, way);
    expect(finding).toMatchObject({
      id: 'mtu-match',
      status: 'problem',
      where: 'between',
      advice: expect.stringMatching(side) as string,
      commands: ['ip link set eth0 mtu 4200'],
    });
  });

  test('have unequal MTUs that hold the same RDMA packets', async () => {
    const theirs = await reportWith(netDevice('eth0', { mtu: 9000 }));
    expect(compareLinks(await reportWith(), theirs, way)[0]?.status).toBe('warning');
  });

  test('have no RoCE v2 GID on one side', async () => {
    const theirs = await reportWith({ [`${PORT}/gids`]: undefined });
    const [finding] = compareLinks(await reportWith(), theirs, way);
    expect(finding).toMatchObject({ id: 'gids-match', status: 'problem' });
    expect(finding?.seen).toMatch(/rxe0\/1 at far has no GID/);
  });

  test('have no device on one side', async () => {
    const theirs = await reportWith({ '/sys/class/infiniband/rxe0': undefined });
    const findings = compareLinks(await reportWith(), theirs, way);
    expect(findings.map(({ id, status, seen }) => [id, status, seen])).toEqual([
      ['mtu-match', 'skipped', expect.stringMatching(/none at far/)],
    ]);
  });

  test('have different versions', async () => {
    const finding = compareVersions(await reportWith(), await reportWith({}, '2.0.0'), 'far');
    expect(finding).toMatchObject({ status: 'warning', seen: '1.0.0 here, 2.0.0 there' });
  });

  test('choose the port by network device, by address in any spelling, or because there is only one', async () => {
    const report = await reportWith();
    const [link] = report.links;
    const two = { ...report, links: [{ ...link!, port: 'other', netDevice: 'eth9', addresses: [] }, link!] };
    expect(linkOf(two, { netDevice: 'eth0' })).toBe(link);
    expect(linkOf(two, { address: 'FD00:0:0::1' })).toBe(link);
    expect(linkOf(two, { address: '203.0.113.1' })).toBeUndefined();
    expect(linkOf(report, { address: '203.0.113.1' })).toBe(link);
  });
});
