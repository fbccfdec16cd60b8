// Whether this machine's packet filter lets RoCE v2 through, as far as this user may read it. It matters for soft-RoCE, whose
// packets are ordinary UDP to port 4791; those of a card never pass the kernel's filter. How rules are read is in firewall/.
import type { RdmaDevice } from './devices.js';
import { rulingsOfIptables } from './firewall/iptables.js';
import { rulingsOfNft } from './firewall/nft.js';
import { ROCE_PORT, type Direction } from './firewall/rules.js';
import type { Machine } from './machine.js';

/** A place where RoCE is dropped. */
export interface Block {
  readonly direction: Direction;
  readonly certain: boolean;
  /** As people name it: `chain input of table inet filter`. */
  readonly place: string;
  /** What to type to let it through. */
  readonly command: string;
}

export interface FirewallFacts {
  /** `read`: everything that is there; `unreadable`: none of the tools answered this user; `not asked`: no soft-RoCE. */
  readonly state: 'read' | 'unreadable' | 'not asked';
  readonly blocks: readonly Block[];
}

const DIRECTIONS: readonly Direction[] = ['in', 'out'];

export async function gatherFirewall(
  machine: Machine,
  devices: readonly RdmaDevice[],
): Promise<FirewallFacts> {
  const ports = devices.filter(({ driver }) => driver === 'rxe').flatMap((device) => device.ports);
  if (ports.length === 0) return { state: 'not asked', blocks: [] };
  const netDevices = ports.flatMap(({ netDevice }) => netDevice ?? []);
  const [nft, iptables, ip6tables] = await Promise.all([
    machine.run('nft', ['--json', 'list', 'ruleset']),
    machine.run('iptables-save', []),
    machine.run('ip6tables-save', []),
  ]);
  const blocks: Block[] = [];
  for (const direction of DIRECTIONS) {
    const packet = { direction, netDevices };
    for (const { drops, certain, family, table, chain } of rulingsOfNft(nft ?? '', packet) ?? []) {
      if (!drops || (isOfIptables(chain) && (family === 'ip6' ? ip6tables : iptables) !== undefined))
        continue;
      const place = `chain ${chain} of table ${family} ${table}`;
      const rule = `nft insert rule ${family} ${table} ${chain} udp dport ${ROCE_PORT} accept`;
      const firewalld = `firewall-cmd --permanent --add-port=${ROCE_PORT}/udp && firewall-cmd --reload`;
      blocks.push({ direction, certain, place, command: table === 'firewalld' ? firewalld : rule });
    }
    for (const [tool, text] of [
      ['iptables', iptables ?? ''],
      ['ip6tables', ip6tables ?? ''],
    ] as const) {
      // ufw keeps its own list, and writes its chains anew from that.
      const ufw = text.includes(':ufw');
      for (const { drops, certain, table, chain } of rulingsOfIptables(text, packet)) {
        if (!drops) continue;
        const place = `chain ${chain} of ${tool}'s table ${table}`;
        const rule = `${tool} -t ${table} -I ${chain} -p udp --dport ${ROCE_PORT} -j ACCEPT`;
        const allow = `ufw allow ${direction} ${ROCE_PORT}/udp`;
        blocks.push({ direction, certain, place, command: ufw ? allow : rule });
      }
    }
  }
  const readable = [nft, iptables, ip6tables].some((text) => text !== undefined);
  return { state: readable ? 'read' : 'unreadable', blocks };
}

/** nft shows the rules of iptables too, without their conditions. */
function isOfIptables(chain: string): boolean {
  return /^[A-Z]+$/.test(chain);
}
