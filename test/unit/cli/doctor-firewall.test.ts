// What doctor makes of packet filters: whether the first packet of RoCE v2 gets through rules as nft and iptables-save write
// them, surely or perhaps, and what to type when it does not.
import { describe, expect, test } from 'vitest';
import { examine } from '../../../lib/cli/doctor/diagnosis.js';
import { rulingsOfIptables } from '../../../lib/cli/doctor/firewall/iptables.js';
import { rulingsOfNft } from '../../../lib/cli/doctor/firewall/nft.js';
import type { Packet } from '../../../lib/cli/doctor/firewall/rules.js';
import type { Finding } from '../../../lib/cli/doctor/finding.js';
import { hostWith } from './doctor-host.js';

const ARRIVING: Packet = { direction: 'in', netDevices: ['eth0'] };

type Statement = Readonly<Record<string, unknown>>;
type Outcome = 'passes' | 'dropped' | 'perhaps dropped';

const dport = (right: unknown): Statement => ({
  match: { op: '==', left: { payload: { protocol: 'udp', field: 'dport' } }, right },
});
const meta = (key: string, right: unknown, op = '=='): Statement => ({
  match: { op, left: { meta: { key } }, right },
});
const state = (right: unknown): Statement => ({ match: { op: 'in', left: { ct: { key: 'state' } }, right } });
const from = (network: string): Statement => ({
  match: { op: '==', left: { payload: { protocol: 'ip', field: 'saddr' } }, right: network },
});
const accept: Statement = { accept: null };
const drop: Statement = { drop: null };
const counter: Statement = { counter: { packets: 3, bytes: 180 } };

interface Table {
  readonly input: readonly (readonly Statement[])[];
  readonly policy?: 'accept' | 'drop';
  /** A chain that can be jumped to. */
  readonly other?: readonly (readonly Statement[])[];
  readonly chain?: Statement;
}

function ruleset({ input, policy = 'accept', other = [], chain = {} }: Table): string {
  const place = { family: 'inet', table: 'filter' };
  const rules = (name: string, all: readonly (readonly Statement[])[]): Statement[] =>
    all.map((expr) => ({ rule: { ...place, chain: name, expr } }));
  return JSON.stringify({
    nftables: [
      { metainfo: { json_schema_version: 1 } },
      { table: { family: 'inet', name: 'filter' } },
      { set: { ...place, name: 'ports', elem: [22, 4791] } },
      { chain: { ...place, name: 'other' } },
      { chain: { ...place, name: 'input', type: 'filter', hook: 'input', policy, ...chain } },
      ...rules('other', other),
      ...rules('input', input),
    ],
  });
}

function outcome(rulings: readonly { drops: boolean; certain: boolean }[]): Outcome {
  const dropping = rulings.find(({ drops }) => drops);
  if (dropping === undefined) return 'passes';
  return dropping.certain ? 'dropped' : 'perhaps dropped';
}

const NFT: Readonly<Record<string, readonly [Table, Outcome]>> = {
  'no rules': [{ input: [] }, 'passes'],
  'a rule against the port': [{ input: [[dport(4791), counter, drop]] }, 'dropped'],
  'a rule that rejects it': [{ input: [[dport(4791), { reject: { type: 'icmpx' } }]] }, 'dropped'],
  'a rule against another port': [{ input: [[dport(53), drop]] }, 'passes'],
  'a range, a set in place, a named set': [
    {
      input: [
        [dport({ range: [1, 4790] }), drop],
        [dport({ set: [53, { range: [60, 70] }] }), drop],
        [dport('@ports'), drop],
      ],
    },
    'dropped',
  ],
  'a policy that drops': [
    { input: [[state(['established', 'related']), accept]], policy: 'drop' },
    'dropped',
  ],
  'a policy that drops, and a rule for the port': [
    { input: [[dport(4791), accept]], policy: 'drop' },
    'passes',
  ],
  'a policy that drops, and a rule for all UDP': [
    { input: [[meta('l4proto', { set: ['tcp', 'udp'] }), accept]], policy: 'drop' },
    'passes',
  ],
  'a policy that drops, and a rule for some senders': [
    { input: [[from('198.51.100.0/24'), accept]], policy: 'drop' },
    'perhaps dropped',
  ],
  'what is dropped anyway': [
    {
      input: [
        [state('invalid'), drop],
        [from('203.0.113.9'), drop],
      ],
    },
    'passes',
  ],
  'a rule against the port from some senders': [
    { input: [[from('203.0.113.0/24'), dport(4791), drop]] },
    'perhaps dropped',
  ],
  'loopback let through, the rest dropped': [{ input: [[meta('iifname', 'lo'), accept], [drop]] }, 'dropped'],
  'the network device let through': [
    { input: [[meta('iifname', ['eth0', 'eth1']), accept], [drop]] },
    'passes',
  ],
  'every device but loopback dropped': [{ input: [[meta('iifname', 'lo', '!='), drop]] }, 'dropped'],
  'a limit on the rule that lets it through': [
    { input: [[dport(4791), { limit: { rate: 5, per: 'second' } }, accept]], policy: 'drop' },
    'perhaps dropped',
  ],
  'a map of states': [
    {
      input: [
        [
          {
            vmap: {
              key: { ct: { key: 'state' } },
              data: {
                set: [
                  ['new', { jump: { target: 'other' } }],
                  ['invalid', drop],
                ],
              },
            },
          },
        ],
      ],
      other: [[dport(4791), drop]],
    },
    'dropped',
  ],
  'a chain that is jumped to, and comes back': [
    { input: [[{ jump: { target: 'other' } }], [drop]], other: [[dport(53), accept], [{ return: null }]] },
    'dropped',
  ],
  'a chain that jumps to itself': [
    { input: [[{ jump: { target: 'other' } }]], other: [[{ jump: { target: 'other' } }]], policy: 'drop' },
    'perhaps dropped',
  ],
  'a chain for another device': [{ input: [[drop]], chain: { hook: 'ingress', dev: 'eth1' } }, 'passes'],
  'a chain for packets that are forwarded': [{ input: [[drop]], chain: { hook: 'forward' } }, 'passes'],
};

const save = (...rules: string[]): string =>
  ['*nat', ':INPUT ACCEPT [0:0]', 'COMMIT', '*filter', ...rules, 'COMMIT', ''].join('\n');
const OPEN = [':INPUT ACCEPT [0:0]', ':OUTPUT ACCEPT [0:0]'];
const SHUT = [':INPUT DROP [0:0]', ':OUTPUT ACCEPT [0:0]'];

const IPTABLES: Readonly<Record<string, readonly [string, Outcome]>> = {
  nothing: ['', 'passes'],
  'a rule against the port': [save(...OPEN, '-A INPUT -p udp -m udp --dport 4791 -j DROP'), 'dropped'],
  'a rule that rejects it': [
    save(
      ...OPEN,
      '-A INPUT -p udp -m multiport --dports 53,4000:5000 -j REJECT --reject-with icmp-port-unreachable',
    ),
    'dropped',
  ],
  'a rule against TCP': [save(...OPEN, '-A INPUT -p tcp -m tcp --dport 4791 -j DROP'), 'passes'],
  'a policy that drops': [
    save(
      ...SHUT,
      '-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-A INPUT -i lo -j ACCEPT',
    ),
    'dropped',
  ],
  'a policy that drops, and a rule with a comment': [
    save(...SHUT, '-A INPUT -p udp -m udp --dport 4791 -m comment --comment "RDMA -j DROP" -j ACCEPT'),
    'passes',
  ],
  'a policy that drops, and a rule for some senders': [
    save(...SHUT, '-A INPUT -s 198.51.100.0/24 -j ACCEPT'),
    'perhaps dropped',
  ],
  'a chain of its own': [
    save(
      ...OPEN,
      ':deny - [0:0]',
      '-A INPUT ! -i lo -j deny',
      '-A deny -j LOG --log-prefix "no: "',
      '-A deny -j DROP',
    ),
    'dropped',
  ],
};

describe('nft', () => {
  test.each(Object.entries(NFT))('%s', (_, [table, expected]) => {
    expect(outcome(rulingsOfNft(ruleset(table), ARRIVING) ?? [])).toBe(expected);
  });

  test.each(['', 'nonsense', '[]', '{"nftables":{}}'])('what is no ruleset is not read: %j', (text) => {
    expect(rulingsOfNft(text, ARRIVING)).toBeUndefined();
  });

  test('objects of any other form are passed over', () => {
    const odd = {
      nftables: [null, 7, { chain: null }, { rule: { expr: 'x' } }, { rule: { expr: [null, { match: 1 }] } }],
    };
    expect(rulingsOfNft(JSON.stringify(odd), ARRIVING)).toEqual([]);
  });
});

describe('iptables', () => {
  test.each(Object.entries(IPTABLES))('%s', (_, [text, expected]) => {
    expect(outcome(rulingsOfIptables(text, ARRIVING))).toBe(expected);
  });
});

describe('the finding', () => {
  const DROPPING = ruleset({ input: [[dport(4791), drop]] });
  const SAVED = save(...SHUT, ':ufw-before-input - [0:0]', '-A INPUT -j ufw-before-input');

  async function findings(answers: Readonly<Record<string, string>>): Promise<Finding[]> {
    const facts = await hostWith({}, { run: (command) => Promise.resolve(answers[command]) });
    return examine(facts).filter(({ id }) => id === 'firewall');
  }

  test('says what lets RoCE through', async () => {
    expect(await findings({ nft: DROPPING })).toEqual([
      expect.objectContaining({
        status: 'problem',
        subject: 'chain input of table inet filter',
        seen: 'drops UDP 4791 from other hosts',
        commands: ['nft insert rule inet filter input udp dport 4791 accept'],
      }),
    ]);
    expect((await findings({ 'iptables-save': SAVED }))[0]?.commands).toEqual(['ufw allow in 4791/udp']);
    const firewalld = DROPPING.replaceAll('"filter"', '"firewalld"').replace(
      '"type":"firewalld"',
      '"type":"filter"',
    );
    expect((await findings({ nft: firewalld }))[0]?.commands?.[0]).toMatch(
      /^firewall-cmd --permanent --add-port=4791/,
    );
  });

  test('trusts iptables for the chains of iptables that nft shows without their conditions', async () => {
    const shown = {
      nftables: [
        {
          chain: {
            family: 'ip',
            table: 'filter',
            name: 'INPUT',
            type: 'filter',
            hook: 'input',
            policy: 'drop',
          },
        },
        {
          rule: {
            family: 'ip',
            table: 'filter',
            chain: 'INPUT',
            expr: [{ xt: { type: 'match', name: 'udp' } }, accept],
          },
        },
      ],
    };
    const saved = save(...SHUT, '-A INPUT -p udp -m udp --dport 4791 -j ACCEPT');
    const nft = JSON.stringify(shown);
    expect((await findings({ nft, 'iptables-save': saved }))[0]?.status).toBe('ok');
    expect((await findings({ nft }))[0]?.status).toBe('warning');
  });

  test('is ok when the rules could be read and let it through, and says so when they could not be read', async () => {
    expect((await findings({ nft: ruleset({ input: [] }) }))[0]?.status).toBe('ok');
    expect((await findings({}))[0]).toMatchObject({
      status: 'skipped',
      seen: expect.stringMatching(/as root/) as string,
    });
  });
});
