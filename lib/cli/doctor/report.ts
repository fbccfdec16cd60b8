// What one side tells the other of itself when it is asked for a diagnosis: its version, transports, ports and findings; as
// elements of the service's namespace, and back. What a peer sends is checked, cut to length and cleaned before anybody sees it.
import { isIP } from 'node:net';
import { MessageRefusedError } from '../../soap/fault.js';
import type { XmlNode } from '../../soap/infoset.js';
import { item, type Attributes, type Fields } from '../wire.js';
import { portsOf } from './check-devices.js';
import { rdmaMtuOf } from './devices.js';
import type { Facts } from './facts.js';
import { STATUSES, type Finding } from './finding.js';

const FINDINGS_MAX = 256;
const COMMANDS_MAX = 8;
const LINKS_MAX = 64;
const ADDRESSES_MAX = 64;
const TRANSPORTS_MAX = 16;
const TEXT_CHARS_MAX = 600;
const NAME_CHARS_MAX = 64;
const MTU_MAX = 1 << 20;

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

export function writeReport({ version, transports, links, findings }: Report): {
  attributes: Attributes;
  content: XmlNode[];
} {
  return {
    attributes: { version: name(version) },
    content: [
      ...transports
        .slice(0, TRANSPORTS_MAX)
        .map((one) => item('Transport', { ...one, name: name(one.name), reason: line(one.reason) })),
      ...links.slice(0, LINKS_MAX).map((link) =>
        item('Link', {
          ...link,
          port: name(link.port),
          netDevice: name(link.netDevice),
          addresses: link.addresses.slice(0, ADDRESSES_MAX).join(' '),
        }),
      ),
      ...findings.slice(0, FINDINGS_MAX).map(writeFinding),
    ],
  };
}

function writeFinding({ id, status, subject, seen, advice, commands = [] }: Finding): XmlNode {
  return item(
    'Finding',
    {
      id,
      status,
      seen: line(seen),
      subject: subject === undefined ? undefined : line(subject),
      advice: advice === undefined ? undefined : line(advice),
    },
    commands.slice(0, COMMANDS_MAX).map((command) => item('Command', { line: line(command) })),
  );
}

/** What a peer answered. Throws a fault when it is not as writeReport writes it. */
export function readReport(fields: Fields): Report {
  return {
    version: name(fields.text('version')),
    transports: bounded(fields, 'Transport', TRANSPORTS_MAX).map((one) => ({
      name: name(one.text('name')),
      available: one.flag('available'),
      reason: line(one.text('reason')),
    })),
    links: bounded(fields, 'Link', LINKS_MAX).map((link) => ({
      port: name(link.text('port')),
      netDevice: name(link.text('netDevice')),
      netMtu: link.count('netMtu', MTU_MAX),
      rdmaMtu: link.count('rdmaMtu', MTU_MAX),
      gids: link.count('gids', MTU_MAX),
      addresses: addressesIn(link.text('addresses')),
    })),
    findings: bounded(fields, 'Finding', FINDINGS_MAX).map(readFinding),
  };
}

function readFinding(fields: Fields): Finding {
  const id = fields.text('id');
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(id))
    throw MessageRefusedError.sender('A finding has no id. Correct the sender.');
  const commands = bounded(fields, 'Command', COMMANDS_MAX).map((command) => line(command.text('line')));
  return {
    id,
    status: fields.choice('status', STATUSES),
    where: 'there',
    ...(fields.has('subject') ? { subject: line(fields.text('subject')) } : {}),
    seen: line(fields.text('seen')),
    ...(fields.has('advice') ? { advice: line(fields.text('advice')) } : {}),
    ...(commands.length === 0 ? {} : { commands }),
  };
}

function bounded(fields: Fields, element: string, max: number): Fields[] {
  const items = fields.items(element);
  if (items.length <= max) return items;
  throw MessageRefusedError.sender(`There are more than ${max} ${element} elements. Correct the sender.`);
}

function addressesIn(text: string): string[] {
  return text
    .split(' ')
    .slice(0, ADDRESSES_MAX)
    .filter((address) => isIP(address) !== 0);
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
