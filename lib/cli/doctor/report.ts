// What one side tells the other of itself when it is asked for a diagnosis: its version, transports, ports and findings; as
// a body of its contract, and back. What a peer sends is checked, cut to length and cleaned before anybody sees it.
import { isIP } from 'node:net';
import { MessageRefusedError } from '../../soap/fault.js';
import type { Received, Sending } from '../../runtime/index.js';
import type { ReportBody } from './contract.js';
import { portsOf } from './check-devices.js';
import { rdmaMtuOf } from './devices.js';
import type { Facts } from './facts.js';
import type { Finding } from './finding.js';

const FINDINGS_MAX = 256;
const COMMANDS_MAX = 8;
const LINKS_MAX = 64;
const ADDRESSES_MAX = 64;
const TRANSPORTS_MAX = 16;
const TEXT_CHARS_MAX = 600;
const NAME_CHARS_MAX = 64;

/** A port, as far as the other side has to know it. */
export interface Link {
  readonly port: string;
  readonly netDevice: string;
  readonly netMtu: number;
  /** 0: no packet fits, or it is not known. */
  readonly rdmaMtu: number;
  /** GIDs of RoCE v2. */
  readonly gids: number;
  readonly addresses: readonly string[];
}

export interface TransportState {
  readonly name: string;
  readonly available: boolean;
  readonly reason: string;
}

export interface Report {
  readonly version: string;
  readonly transports: readonly TransportState[];
  readonly links: readonly Link[];
  readonly findings: readonly Finding[];
}

export function reportOf(facts: Facts, findings: readonly Finding[]): Report {
  const { version, transports } = facts;
  return {
    version,
    transports: transports.map(({ name, available, reason = '' }) => ({ name, available, reason })),
    links: portsOf(facts).flatMap(({ name, device, port, net }) =>
      net === undefined
        ? []
        : {
            port: name,
            netDevice: net.name,
            netMtu: net.mtu,
            rdmaMtu: rdmaMtuOf(net.mtu, device.driver) ?? 0,
            gids: port.gids.filter((gid) => gid.version === 'v2').length,
            addresses: net.addresses.map(({ address }) => address),
          },
    ),
    findings,
  };
}

export function writeReport({ version, transports, links, findings }: Report): Sending<typeof ReportBody> {
  return {
    version: name(version),
    transports: transports
      .slice(0, TRANSPORTS_MAX)
      .map((one) => ({ ...one, name: name(one.name), reason: line(one.reason) })),
    links: links.slice(0, LINKS_MAX).map((link) => ({
      ...link,
      port: name(link.port),
      netDevice: name(link.netDevice),
      addresses: link.addresses.slice(0, ADDRESSES_MAX),
    })),
    findings: findings.slice(0, FINDINGS_MAX).map(({ id, status, seen, subject, advice, commands = [] }) => ({
      id,
      status,
      seen: line(seen),
      subject: subject === undefined ? undefined : line(subject),
      advice: advice === undefined ? undefined : line(advice),
      commands: commands.slice(0, COMMANDS_MAX).map(line),
    })),
  };
}

/** What a peer answered. Throws a fault when it is more than writeReport writes, or other than that. */
export function readReport({ version, transports, links, findings }: Received<typeof ReportBody>): Report {
  return {
    version: name(version),
    transports: bounded('transports', transports, TRANSPORTS_MAX).map((one) => ({
      name: name(one.name),
      available: one.available,
      reason: line(one.reason),
    })),
    links: bounded('links', links, LINKS_MAX).map((link) => ({
      port: name(link.port),
      netDevice: name(link.netDevice),
      netMtu: link.netMtu,
      rdmaMtu: link.rdmaMtu,
      gids: link.gids,
      addresses: link.addresses.slice(0, ADDRESSES_MAX).filter((address) => isIP(address) !== 0),
    })),
    findings: bounded('findings', findings, FINDINGS_MAX).map(readFinding),
  };
}

function readFinding(told: Received<typeof ReportBody>['findings'][number]): Finding {
  const { id, status, seen, subject, advice } = told;
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(id))
    throw MessageRefusedError.sender('A finding has no id. Correct the sender.');
  const commands = bounded('commands', told.commands, COMMANDS_MAX).map(line);
  return {
    id,
    status,
    where: 'there',
    ...(subject === undefined ? {} : { subject: line(subject) }),
    seen: line(seen),
    ...(advice === undefined ? {} : { advice: line(advice) }),
    ...(commands.length === 0 ? {} : { commands }),
  };
}

function bounded<T>(what: string, items: readonly T[], max: number): readonly T[] {
  if (items.length <= max) return items;
  throw MessageRefusedError.sender(`There are more than ${max} ${what}. Correct the sender.`);
}

/** One line of text that moves no cursor, changes no direction of writing and is not long. */
function line(text: string): string {
  return clean(text, TEXT_CHARS_MAX);
}

/** Goes into commands that people may type, so there is nothing in it that a shell would take for more than a name. */
function name(text: string): string {
  return clean(text, NAME_CHARS_MAX).replace(/[^\w.:@/+-]/g, '?');
}

function clean(text: string, charsMax: number): string {
  const short = text.length > charsMax ? `${text.slice(0, charsMax - 1)}…` : text;
  return short.replace(/\p{C}/gu, '?');
}
