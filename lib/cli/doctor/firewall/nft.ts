// Reads what `nft --json list ruleset` says, in the form of libnftables-json(5), as chains of rules. Everything in it that is
// not understood makes a condition that perhaps holds. Knows no other firewall.
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

/** A chain that the packet passes, and what becomes of it there. */
export interface NftRuling extends Ruling {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
}

type Json = Readonly<Record<string, unknown>>;

/** Families in which RoCE is to be met, and the hooks on its ways. */
const FAMILIES = ['inet', 'ip', 'ip6', 'netdev'];
const HOOKS: Readonly<Record<Packet['direction'], readonly string[]>> = {
  in: ['ingress', 'prerouting', 'input'],
  out: ['output', 'postrouting', 'egress'],
};
/** Statements that limit how often a rule matches. */
const CONDITIONS = ['limit', 'quota', 'ct count', 'connlimit', 'xt'];

/** What every base chain on the packet's way does with it; undefined when the text is not a ruleset. */
export function rulingsOfNft(text: string, packet: Packet): NftRuling[] | undefined {
  const objects = objectsOf(text);
  if (objects === undefined) return undefined;
  const of = (kind: string): Json[] =>
    objects.flatMap((object) => (isObject(object[kind]) ? [object[kind]] : []));
  const sets = new Map(of('set').map((set) => [keyOf(set, set.name), listOf(set.elem)]));
  const rulesOf = new Map<string, Rule[]>();
  for (const rule of of('rule')) {
    const key = keyOf(rule, rule.chain);
    const resolve = (name: string): unknown[] | undefined => sets.get(keyOf(rule, name));
    const rules = rulesOf.get(key) ?? [];
    rules.push(new Reader(packet, resolve).rule(listOf(rule.expr)));
    rulesOf.set(key, rules);
  }
  const chains = of('chain').map((chain) => ({
    json: chain,
    chain: {
      name: String(chain.name),
      policyDrops: chain.policy === 'drop',
      rules: rulesOf.get(keyOf(chain, chain.name)) ?? [],
    },
  }));
  return chains
    .filter(({ json }) => FAMILIES.includes(String(json.family)) && onTheWay(json, packet))
    .map(({ json, chain }) => {
      const family = String(json.family);
      const table = String(json.table);
      const near = chains.filter((other) => other.json.family === family && other.json.table === table);
      const reachable = new Map<string, Chain>(near.map((other) => [other.chain.name, other.chain]));
      return { family, table, chain: chain.name, ...ruling(chain, reachable) };
    });
}

function objectsOf(text: string): Json[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) && Array.isArray(value.nftables) ? value.nftables.filter(isObject) : undefined;
  } catch {
    return undefined;
  }
}

function onTheWay(chain: Json, { direction, netDevices }: Packet): boolean {
  if (!HOOKS[direction].includes(String(chain.hook))) return false;
  // Chains for address translation drop nothing, and those of family netdev are for one device.
  if (chain.type === 'nat') return false;
  const devices = listOf(chain.dev).map(String);
  return devices.length === 0 || devices.some((device) => netDevices.includes(device));
}

/** Reads the rules of one table. */
class Reader {
  readonly #packet: Packet;
  readonly #set: (name: string) => unknown[] | undefined;

  constructor(packet: Packet, set: (name: string) => unknown[] | undefined) {
    this.#packet = packet;
    this.#set = set;
  }

  rule(statements: readonly unknown[]): Rule {
    let matches: Truth = true;
    let namesPort = false;
    let verdict: Verdict | undefined;
    for (const statement of statements.filter(isObject)) {
      const match = statement.match;
      if (isObject(match)) {
        const truth = this.#match(match);
        namesPort ||= truth === true && isPort(match.left);
        matches = and(matches, truth);
      } else if (isObject(statement.vmap)) {
        verdict ??= this.#mapped(statement.vmap);
      } else if (CONDITIONS.some((name) => name in statement)) {
        matches = undefined;
      } else {
        verdict ??= verdictOf(statement);
      }
    }
    return { matches, namesPort, verdict };
  }

  #match({ op, left, right }: Json): Truth {
    const values = this.#valuesOf(left);
    if (values === undefined) return undefined;
    if (op === '==' || op === 'in') return this.#anyOf(values, right);
    return op === '!=' ? not(this.#anyOf(values, right)) : undefined;
  }

  /** The verdict of a map for the packet, if it is in there. */
  #mapped({ key, data }: Json): Verdict | undefined {
    const values = this.#valuesOf(key);
    if (values === undefined) return undefined;
    const entries = isObject(data) ? listOf(data.set) : listOf(data);
    for (const entry of entries) {
      const [value, verdict] = listOf(entry);
      if (this.#anyOf(values, value) === true && isObject(verdict)) return verdictOf(verdict);
    }
    return undefined;
  }

  /** What the packet has there, in every spelling; undefined when it is not known, none when it has no such field. */
  #valuesOf(expression: unknown): readonly (string | number)[] | undefined {
    if (!isObject(expression)) return undefined;
    const { payload, meta, ct } = expression;
    if (isObject(payload)) {
      const { protocol, field } = payload;
      if (protocol === 'udp' || protocol === 'th') return field === 'dport' ? [ROCE_PORT] : undefined;
      if ((protocol === 'ip' && field === 'protocol') || (protocol === 'ip6' && field === 'nexthdr'))
        return ['udp', 17];
      return ['tcp', 'icmp', 'icmpv6', 'igmp', 'sctp', 'dccp', 'esp', 'ah'].includes(String(protocol))
        ? []
        : undefined;
    }
    if (isObject(meta)) {
      if (meta.key === 'l4proto') return ['udp', 17];
      const mine = this.#packet.direction === 'in' ? ['iif', 'iifname'] : ['oif', 'oifname'];
      return mine.includes(String(meta.key)) ? this.#packet.netDevices : undefined;
    }
    return isObject(ct) && ct.key === 'state' ? ['new'] : undefined;
  }

  #anyOf(values: readonly (string | number)[], wanted: unknown): Truth {
    if (values.length === 0) return false;
    if (Array.isArray(wanted)) {
      const truths = wanted.map((one) => this.#anyOf(values, one));
      return truths.includes(true) ? true : truths.includes(undefined) ? undefined : false;
    }
    if (typeof wanted === 'string' && wanted.startsWith('@')) {
      const elements = this.#set(wanted.slice(1));
      return elements === undefined ? undefined : this.#anyOf(values, elements);
    }
    if (typeof wanted === 'string') return wanted.endsWith('*') ? undefined : values.includes(wanted);
    if (typeof wanted === 'number') return values.includes(wanted);
    if (!isObject(wanted)) return undefined;
    if ('set' in wanted) return this.#anyOf(values, wanted.set);
    if (isObject(wanted.elem)) return this.#anyOf(values, wanted.elem.val);
    const [from, to] = listOf(wanted.range);
    if (typeof from !== 'number' || typeof to !== 'number') return undefined;
    return values.some((value) => typeof value === 'number' && from <= value && value <= to);
  }
}

function isPort(left: unknown): boolean {
  return isObject(left) && isObject(left.payload) && left.payload.field === 'dport';
}

function verdictOf(statement: Json): Verdict | undefined {
  if ('accept' in statement) return { kind: 'accept' };
  if ('drop' in statement || 'reject' in statement) return { kind: 'drop' };
  if ('return' in statement) return { kind: 'return' };
  for (const kind of ['jump', 'goto'] as const) {
    const to = statement[kind];
    if (isObject(to)) return { kind, chain: String(to.target) };
  }
  return undefined;
}

function keyOf(object: Json, name: unknown): string {
  return JSON.stringify([object.family, object.table, name]);
}

function listOf(value: unknown): unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
