// What the two sides of `doctor HOST` tell each other: it arrives as it was sent; what a hostile peer sends is refused, or cut
// and cleaned; and what the two sides make together is judged.
import { describe, expect, test } from 'vitest';
import { compareLinks, compareVersions, linkOf } from '../../../lib/cli/doctor/between.js';
import { examine } from '../../../lib/cli/doctor/diagnosis.js';
import { readReport, reportOf, writeReport, type Report } from '../../../lib/cli/doctor/report.js';
import { Fields, item, type Attributes } from '../../../lib/cli/wire.js';
import type { XmlNode } from '../../../lib/soap/infoset.js';
import { hostWith, netDevice, PORT, type Changes } from './doctor-host.js';

async function reportWith(changes: Changes = {}, version = '1.0.0'): Promise<Report> {
  const facts = await hostWith(changes, { version });
  return reportOf(facts, examine(facts));
}

function answer(attributes: Attributes, content: readonly XmlNode[] = []): Fields {
  return new Fields(item('DiagnoseResponse', attributes, content), 'DiagnoseResponse');
}

const LINK = {
  port: 'rxe0/1',
  netDevice: 'eth0',
  netMtu: 1500,
  rdmaMtu: 1024,
  gids: 2,
  addresses: '198.51.100.1',
};
const FINDING = { id: 'mtu', status: 'ok', seen: 'all is well' };

describe('a report', () => {
  test('arrives as it was sent, its findings as those of the other side', async () => {
    const report = await reportWith(netDevice('eth0', { mtu: 1500 }));
    expect(report.findings.some(({ commands }) => commands !== undefined)).toBe(true);
    const { attributes, content } = writeReport(report);
    const there = report.findings.map((finding) => ({ ...finding, where: 'there' }));
    expect(readReport(answer(attributes, content))).toEqual({ ...report, findings: there });
  });

  const hostile: Readonly<Record<string, [Attributes, XmlNode[]]>> = {
    'no version': [{}, []],
    'a status that is none': [{ version: '1' }, [item('Finding', { ...FINDING, status: 'fine' })]],
    'an id that is none': [{ version: '1' }, [item('Finding', { ...FINDING, id: 'x\u001b[2J' })]],
    'nothing seen': [{ version: '1' }, [item('Finding', { id: 'mtu', status: 'ok' })]],
    'an MTU that is none': [{ version: '1' }, [item('Link', { ...LINK, netMtu: -1 })]],
    'an MTU beyond any': [{ version: '1' }, [item('Link', { ...LINK, rdmaMtu: 1e12 })]],
    'too many findings': [{ version: '1' }, Array.from({ length: 257 }, () => item('Finding', FINDING))],
    'too many commands': [
      { version: '1' },
      [
        item(
          'Finding',
          FINDING,
          Array.from({ length: 9 }, () => item('Command', { line: 'true' })),
        ),
      ],
    ],
    'too many ports': [{ version: '1' }, Array.from({ length: 65 }, () => item('Link', LINK))],
  };
  test.each(Object.entries(hostile))('is refused with %s', (_, [attributes, content]) => {
    expect(() => readReport(answer(attributes, content))).toThrow(/Correct the sender|Send one/);
  });

  test('moves no cursor, changes no direction of writing, and is cut to length', () => {
    const evil = '\u001b[31mrm\r\n\u202e\u0007\ud800';
    const long = 'x'.repeat(5000);
    const { version, links, findings } = readReport(
      answer({ version: `1${evil}` }, [
        item('Link', {
          ...LINK,
          port: 'rxe0; rm -r *',
          netDevice: evil,
          addresses: `198.51.100.1 ${evil} nonsense fd00::1`,
        }),
        item('Finding', { ...FINDING, seen: evil, subject: long, advice: evil }, [
          item('Command', { line: evil }),
        ]),
      ]),
    );
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
