// What a packet filter does with RoCE: chains of rules, each of which a packet matches, does not match, or perhaps matches
// when doctor cannot tell, and the walk through them. Where the rules come from is nft.ts and iptables.ts.

/** The UDP port of RoCE v2. */
export const ROCE_PORT = 4791;
/** Rules looked at on all ways together, and calls of a chain out of a chain. */
const RULES_MAX = 20_000;
const DEPTH_MAX = 16;

export type Direction = 'in' | 'out';

/** The packet in question: the first one of a connection, UDP to ROCE_PORT, through one of `netDevices`. */
export interface Packet {
  readonly direction: Direction;
  readonly netDevices: readonly string[];
}

/** Undefined: it depends on what doctor does not know. */
export type Truth = boolean | undefined;

export type Verdict =
  | { readonly kind: 'accept' | 'drop' | 'return' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string };

export interface Rule {
  readonly matches: Truth;
  /** It names the port, so what it does not say for sure is worth telling. */
  readonly namesPort: boolean;
  readonly verdict: Verdict | undefined;
}

export interface Chain {
  readonly name: string;
  readonly policyDrops: boolean;
  readonly rules: readonly Rule[];
}

/** What a base chain does with the packet. */
export interface Ruling {
  readonly drops: boolean;
  /** False when something that doctor cannot tell may let it pass before, or may keep the rule from matching. */
  readonly certain: boolean;
}

interface Walked {
  readonly end: 'accept' | 'drop' | 'return';
  /** It may have been let pass on the way. */
  readonly doubtful: boolean;
  /** The rule that ended it names the port. */
  readonly namesPort: boolean;
}

export function and(a: Truth, b: Truth): Truth {
  if (a === false || b === false) return false;
  return a === undefined || b === undefined ? undefined : true;
}

export function not(a: Truth): Truth {
  return a === undefined ? undefined : !a;
}

/** Sends the packet through a base chain; `chains` are those that it can jump to. */
export function ruling(base: Chain, chains: ReadonlyMap<string, Chain>): Ruling {
  let looked = 0;

  const walk = (chain: Chain, depth: number): Walked => {
    let doubtful = false;
    for (const rule of chain.rules) {
      const { matches, verdict } = rule;
      if (++looked > RULES_MAX || matches === false || verdict === undefined) continue;
      const reached = follow(rule, verdict, depth);
      const { end } = reached;
      const namesPort = reached.namesPort || rule.namesPort;
      doubtful ||= reached.doubtful;
      if (end === 'return' && verdict.kind === 'jump') continue;
      if (matches === true) return { end, doubtful, namesPort };
      // Perhaps it matches. A drop that says nothing of the port is for other packets in all likelihood.
      if (end !== 'drop') doubtful = true;
      else if (namesPort) return { end, doubtful: true, namesPort };
    }
    return { end: 'return', doubtful, namesPort: false };
  };

  const follow = ({ namesPort }: Rule, verdict: Verdict, depth: number): Walked => {
    if (verdict.kind !== 'jump' && verdict.kind !== 'goto')
      return { end: verdict.kind, doubtful: false, namesPort };
    const chain = chains.get(verdict.chain);
    if (chain === undefined || depth >= DEPTH_MAX) return { end: 'return', doubtful: true, namesPort };
    return walk(chain, depth + 1);
  };

  const { end, doubtful } = walk(base, 0);
  const drops = end === 'drop' || (end === 'return' && base.policyDrops);
  return { drops, certain: !doubtful };
}
