// Reads what iptables-save and ip6tables-save say, as chains of rules. Options that are not understood make a condition that
// perhaps holds. Knows no other firewall.
import {
  and,
  not,
  ROCE_PORT,
  ruling,
  type Chain,
  type Packet,
  type Rule,
  type Ruling,
  type Truth,
  type Verdict,
} from './rules.js';

/** A built-in chain that the packet passes, and what becomes of it there. */
export interface IptablesRuling extends Ruling {
  readonly table: string;
  readonly chain: string;
}

const BASES: Readonly<Record<Packet['direction'], readonly string[]>> = {
  in: ['PREROUTING', 'INPUT'],
  out: ['OUTPUT', 'POSTROUTING'],
};
/** Options that say how, and not which packets. */
const SILENT = ['-m', '--match', '--comment', '--reject-with', '--log-prefix', '--log-level'];
const VERDICTS: Readonly<Record<string, Verdict>> = {
  ACCEPT: { kind: 'accept' },
  DROP: { kind: 'drop' },
  REJECT: { kind: 'drop' },
  RETURN: { kind: 'return' },
};
/** Targets after which a packet goes on to the next rule. */
const PASSING = ['LOG', 'NFLOG', 'MARK', 'CONNMARK', 'CT', 'NOTRACK', 'TCPMSS', 'TRACE', 'SET', 'AUDIT'];

/** What the built-in chains on the packet's way do with it. */
export function rulingsOfIptables(text: string, packet: Packet): IptablesRuling[] {
  const tables = text.split(/^\*/m).slice(1);
  return tables.flatMap((section) => {
    const [table = '', ...lines] = section.split('\n').map((line) => line.trim());
    if (table === 'nat') return [];
    const chains = chainsOf(lines, packet);
    return BASES[packet.direction].flatMap((name) => {
      const chain = chains.get(name);
      return chain === undefined ? [] : [{ table, chain: name, ...ruling(chain, chains) }];
    });
  });
}

function chainsOf(lines: readonly string[], packet: Packet): Map<string, Chain> {
  const chains = new Map<string, { name: string; policyDrops: boolean; rules: Rule[] }>();
  for (const line of lines) {
    const [, name, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (name !== undefined) chains.set(name, { name, policyDrops: policy === 'DROP', rules: [] });
    const [, chain, options] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
    if (chain !== undefined) chains.get(chain)?.rules.push(readRule(options ?? '', packet));
  }
  return chains;
}

function readRule(options: string, packet: Packet): Rule {
  const words = options.match(/"(?:\\.|[^"\\])*"|\S+/g) ?? [];
  let matches: Truth = true;
  let namesPort = false;
  let verdict: Verdict | undefined;
  for (let at = 0; at < words.length;) {
    const negated = words[at] === '!';
    if (negated) at++;
    const option = words[at++] ?? '';
    const value: string[] = [];
    while (at < words.length && words[at] !== '!' && !/^--?[a-z]/i.test(words[at] ?? ''))
      value.push(words[at++] ?? '');
    const [argument = ''] = value;
    if (option === '-j' || option === '-g') {
      verdict = verdictOf(option, argument);
      continue;
    }
    if (SILENT.includes(option)) continue;
    const truth = condition(option, argument, packet);
    namesPort ||= truth === true && option.startsWith('--dport');
    matches = and(matches, negated ? not(truth) : truth);
  }
  return { matches, namesPort, verdict };
}

function verdictOf(option: string, target: string): Verdict | undefined {
  const known = VERDICTS[target];
  if (known !== undefined || PASSING.includes(target)) return known;
  return { kind: option === '-g' ? 'goto' : 'jump', chain: target };
}

function condition(option: string, argument: string, { direction, netDevices }: Packet): Truth {
  switch (option) {
    case '-p':
      return ['udp', '17', 'all'].includes(argument);
    case '--dport':
    case '--dports':
      return argument.split(',').some((range) => {
        const [from = '', to = from] = range.split(':');
        return Number(from) <= ROCE_PORT && ROCE_PORT <= Number(to);
      });
    case '--ctstate':
    case '--state':
      return argument.split(',').includes('NEW');
    case direction === 'in' ? '-i' : '-o':
      return argument.endsWith('+') ? undefined : netDevices.includes(argument);
    default:
      return undefined;
  }
}
