// Judges the two sides together: versions, the ports a connection would use, and their MTUs. From what both have told.
import { gidOf } from './devices.js';
import { ok, problem, skipped, warning, type Finding } from './finding.js';
import type { Link, Report } from './report.js';

/** How packets go from here to the host. */
export interface Way {
  readonly host: string;
  /** Where they leave, if it is known. */
  readonly netDevice?: string | undefined;
  /** Where they arrive. */
  readonly address: string;
}

export function compareVersions(
  { version: here }: Report,
  { version: there }: Report,
  host: string,
): Finding {
  const where = 'between';
  if (here === there) return ok('versions', `${here} on both sides`, { where });
  return warning('versions', `${here} here, ${there} there`, {
    where,
    advice: `They understand each other as far as the older one goes. Update ${host}, or this host.`,
  });
}

/** The port that a connection would use on a side: that of the network device or address in question, or the only one. */
export function linkOf({ links }: Report, { netDevice, address }: Partial<Way>): Link | undefined {
  const gid = address === undefined ? undefined : gidOf(address);
  const found = links.find(
    (link) =>
      link.netDevice === netDevice || (gid !== undefined && link.addresses.some((own) => gidOf(own) === gid)),
  );
  return found ?? (links.length === 1 ? links[0] : undefined);
}

export function compareLinks(here: Report, there: Report, { host, netDevice, address }: Way): Finding[] {
  const where = 'between';
  const mine = linkOf(here, { netDevice });
  const theirs = linkOf(there, { address });
  if (mine === undefined || theirs === undefined) {
    const side = mine === undefined ? 'here' : `at ${host}`;
    const why = `needs a device on the way on both sides, and there is none ${side}`;
    return [skipped('mtu-match', why, { where })];
  }
  const found: Finding[] = [];
  if (mine.gids > 0 !== theirs.gids > 0) {
    const side = mine.gids > 0 ? `${theirs.port} at ${host}` : `${mine.port} here`;
    found.push(
      problem('gids-match', `${side} has no GID of RoCE v2, and the other side has`, {
        where,
        advice: 'Both sides need one; the finding "gids" of that side says how.',
      }),
    );
  }
  return [...found, compareMtu(mine, theirs, host)];
}

function compareMtu(mine: Link, theirs: Link, host: string): Finding {
  const id = 'mtu-match';
  const where = 'between';
  const { netMtu, rdmaMtu } = mine;
  if (netMtu === theirs.netMtu) return ok(id, `${netMtu} on both sides, RDMA ${rdmaMtu}`, { where });
  const seen =
    `${mine.netDevice} here has ${netMtu} (RDMA ${rdmaMtu}), ` +
    `${theirs.netDevice} at ${host} has ${theirs.netMtu} (RDMA ${theirs.rdmaMtu})`;
  const lower = netMtu < theirs.netMtu;
  const remedy = {
    where,
    advice: `Set the same on both sides. ${lower ? 'Here' : `At ${host}`}:`,
    commands: [`ip link set ${(lower ? mine : theirs).netDevice} mtu ${Math.max(netMtu, theirs.netMtu)}`],
  } as const;
  if (rdmaMtu !== theirs.rdmaMtu) {
    return problem(id, `${seen}: packets of the one are too long for the other`, remedy);
  }
  return warning(id, seen, remedy);
}
