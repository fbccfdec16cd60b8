// Classic mistakes in setting RDMA up, each made for real on a host of the laboratory, found there by `splitplane doctor`, and
// undone by typing what doctor says, where it says what undoes it. Then those that only two hosts can make.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Lab, type CommandOptions, type HostName, type Job } from '../../ci/lab/lab.mjs';
import { CLI } from '../cli/support.js';
import { program } from '../support/processes.js';

/** The hosts are emulated: everything takes its time. */
const PATIENCE_MS = 120_000;
const BOOT_MS = 600_000;
const PORT = 7350;
const DROP =
  "nft 'add table inet lab; add chain inet lab input { type filter hook input priority 0; }; " +
  "add rule inet lab input udp dport 4791 drop'";

interface Finding {
  readonly id: string;
  readonly status: string;
  readonly where: string;
  readonly seen: string;
  readonly advice?: string;
  readonly commands?: readonly string[];
}

interface Mistake {
  /** Makes it, in a shell. */
  readonly make: string;
  /** Undoes it; where it is left out, what doctor says to type does. */
  readonly undo?: string;
  /** Everything that is wrong then, but for the conclusion that RDMA cannot be used. */
  readonly wrong: readonly string[];
  readonly seen: RegExp;
}

const MISTAKES: Readonly<Record<string, Mistake>> = {
  'no kernel modules': {
    make: 'rdma link delete rxe0; rmmod rdma_ucm rdma_rxe',
    undo: 'modprobe --all rdma_ucm rdma_rxe; rdma link add rxe0 type rxe netdev eth0',
    wrong: ['modules', 'devices'],
    seen: /not loaded: rdma_ucm; no driver of an RDMA device is loaded/,
  },
  'no device': {
    make: 'rdma link delete rxe0',
    wrong: ['devices'],
    seen: /none, although soft-RoCE \(rdma_rxe\) is loaded/,
  },
  'the network device is down': {
    make: 'ip link set eth0 down',
    // The system takes the IPv6 addresses away with the link.
    undo: 'ip link set eth0 up; ip address add $LAB_SELF6/64 dev eth0 nodad',
    wrong: ['port', 'net-device'],
    seen: /DOWN, Disabled, Ethernet: its network device eth0 is down/,
  },
  'no address': {
    make: 'ip address flush dev eth0',
    undo:
      'ip address add $LAB_SELF/24 dev eth0; ip address add $LAB_SELF6/64 dev eth0 nodad; ' +
      'ip address add ${LAB_SELF_LINK%%%*}/64 dev eth0 nodad',
    wrong: ['net-device'],
    seen: /eth0 has no address/,
  },
  'an MTU of 1500': {
    make: 'ip link set eth0 mtu 1500',
    wrong: ['mtu'],
    seen: /eth0 has 1500, so RDMA packets carry 1024 bytes/,
  },
  'the filter drops UDP 4791': {
    make: DROP,
    wrong: ['firewall'],
    seen: /drops UDP 4791 from other hosts/,
  },
  'two devices in one subnet': {
    make:
      'modprobe dummy; ip link add dummy0 type dummy; ip link set dummy0 mtu 4200 up; ' +
      'ip address add 192.0.2.77/24 dev dummy0 noprefixroute; rdma link add rxe1 type rxe netdev dummy0',
    undo: 'rdma link delete rxe1; ip link delete dummy0',
    wrong: ['subnets'],
    seen: /are one subnet/,
  },
};

let lab: Lab;

async function shell(host: HostName, command: string): Promise<void> {
  const { code, stderr } = await lab.run(host, command);
  expect(`${code} ${stderr}`.trim()).toBe('0');
}

async function doctor(host: HostName, args: string, options: CommandOptions = {}): Promise<Finding[]> {
  const { code, stdout, stderr } = await lab.run(
    host,
    `${process.execPath} ${CLI} doctor --json ${args}`,
    options,
  );
  expect(stderr).toBe('');
  const findings = stdout.split('\n').filter((line) => line !== '');
  const all = findings.map((line) => JSON.parse(line) as Finding);
  expect(code).toBe(all.some(({ status }) => status === 'problem') ? 1 : 0);
  return all;
}

/** Problems and warnings, but for the conclusion, which has a test of its own. */
function wrong(findings: readonly Finding[], where = 'here'): Finding[] {
  const bad = findings.filter(({ status }) => status === 'problem' || status === 'warning');
  return bad.filter((finding) => finding.where === where && finding.id !== 'transport');
}

function find(findings: readonly Finding[], where: string, id: string): Finding | undefined {
  return findings.find((finding) => finding.where === where && finding.id === id);
}

beforeAll(async () => {
  lab = await Lab.start();
  // The files of a container that the laboratory may run in are its hosts' files; they are not in a container themselves.
  await Promise.all(lab.hosts.map((host) => shell(host, 'rm -f /.dockerenv /run/.containerenv')));
}, BOOT_MS);

afterAll(async () => {
  await lab.stop();
}, PATIENCE_MS);

describe('a host by itself', () => {
  let staying: Job;
  let looks = 0;

  beforeAll(async () => {
    staying = lab.spawn('a', `exec ${process.execPath} ${program('diagnose')}`);
    await staying.until(/^ready$/m);
  }, PATIENCE_MS);

  afterAll(async () => {
    staying.signal('SIGTERM');
    await staying.result;
  }, PATIENCE_MS);

  async function look(): Promise<Finding[]> {
    staying.signal('SIGHUP');
    const [line] = await staying.until(new RegExp(`^{"look":${++looks},.*$`, 'm'));
    return (JSON.parse(line) as { findings: Finding[] }).findings;
  }

  test(
    'has nothing wrong, and the conclusion is what `info` says',
    async () => {
      const findings = await doctor('a', '');
      expect(wrong(findings)).toEqual([]);
      const { stdout } = await lab.run('a', `${process.execPath} ${CLI} info --json`);
      const { transports } = JSON.parse(stdout) as { transports: { name: string; available: boolean }[] };
      const rdma = transports.find(({ name }) => name === 'rdma')?.available;
      expect(find(findings, 'here', 'transport')?.status).toBe(rdma === true ? 'ok' : 'problem');
    },
    PATIENCE_MS,
  );

  test.each(Object.entries(MISTAKES))(
    '%s',
    async (_, { make, undo, wrong: expected, seen }) => {
      await shell('a', make);
      const found = wrong(await look());
      expect(found.map(({ id }) => id)).toEqual(expected);
      expect(found[0]?.seen).toMatch(seen);
      expect(found[0]?.advice).toMatch(/\w+ \w+/);
      await shell('a', undo ?? (found[0]?.commands ?? ['false']).join(' && '));
      expect(wrong(await look())).toEqual([]);
    },
    PATIENCE_MS,
  );

  test(
    'a device node that a user may not open, and too little memory that may be locked',
    async () => {
      await shell('a', 'chmod 600 /dev/infiniband/uverbs0');
      const found = wrong(await doctor('a', '', { user: 'nobody', memlockBytes: 65_536 }));
      expect(found.map(({ id, seen }) => [id, seen])).toEqual([
        ['device-nodes', 'this user may not read and write it'],
        ['locked-memory', 'limited to 64 KiB, which is too little to register memory'],
      ]);
      await shell('a', found[0]?.commands?.join(' && ') ?? 'false');
      // Root is bound by the limit too without CAP_IPC_LOCK.
      expect(wrong(await doctor('a', '', { memlockBytes: 65_536 })).map(({ id }) => id)).toEqual([
        'locked-memory',
      ]);
    },
    PATIENCE_MS,
  );
});

describe('two hosts', () => {
  beforeAll(async () => {
    const listen = `--listen 0.0.0.0:${PORT} --allow-insecure --root /tmp`;
    const serving = lab.spawn('b', `${process.execPath} ${CLI} serve ${listen}`);
    await serving.until(/^Listening on /);
  }, PATIENCE_MS);

  async function toPeer(port = PORT): Promise<Finding[]> {
    return await doctor('a', `$LAB_PEER:${port} --allow-insecure`);
  }

  test(
    'reach each other by their RDMA devices, and fit',
    async () => {
      const findings = await toPeer();
      expect(wrong(findings)).toEqual([]);
      expect(wrong(findings, 'there')).toEqual([]);
      for (const id of ['name', 'route', 'reachable', 'control-plane', 'other-side', 'versions', 'mtu-match'])
        expect(find(findings, 'between', id)).toMatchObject({ status: 'ok' });
      expect(find(findings, 'between', 'route')?.seen).toMatch(/by eth0, which carries rxe0\/1$/);
    },
    PATIENCE_MS,
  );

  test(
    'unequal MTUs',
    async () => {
      await shell('b', 'ip link set eth0 mtu 1500');
      const findings = await toPeer();
      expect(find(findings, 'between', 'mtu-match')).toMatchObject({
        status: 'problem',
        commands: ['ip link set eth0 mtu 4200'],
      });
      expect(wrong(findings, 'there').map(({ id }) => id)).toEqual(['mtu']);
      await shell('b', 'ip link set eth0 mtu 4200');
    },
    PATIENCE_MS,
  );

  test(
    'no device on the other side',
    async () => {
      await shell('b', 'rdma link delete rxe0');
      const findings = await toPeer();
      expect(wrong(findings)).toEqual([]);
      expect(wrong(findings, 'there').map(({ id }) => id)).toEqual(['devices']);
      expect(find(findings, 'between', 'mtu-match')?.seen).toMatch(/none at 192\.0\.2\.2/);
      expect(find(findings, 'between', 'choice')?.seen).toMatch(/tcp:.*, not over RDMA: RDMA cannot be used/);
      await shell('b', 'rdma link add rxe0 type rxe netdev eth0');
    },
    PATIENCE_MS,
  );

  test(
    'the filter of the other side drops UDP 4791',
    async () => {
      await shell('b', DROP);
      const findings = await toPeer();
      expect(find(findings, 'there', 'firewall')).toMatchObject({
        status: 'problem',
        commands: ['nft insert rule inet lab input udp dport 4791 accept'],
      });
      await shell('b', 'nft delete table inet lab');
    },
    PATIENCE_MS,
  );

  test(
    'nobody listens at the port',
    async () => {
      const findings = await toPeer(PORT + 1);
      expect(find(findings, 'between', 'reachable')).toMatchObject({
        status: 'problem',
        commands: [`splitplane serve --listen 192.0.2.2:${PORT + 1} --allow-insecure`],
      });
    },
    PATIENCE_MS,
  );

  test(
    'packets leave by a network device without RDMA',
    async () => {
      await shell(
        'a',
        'modprobe dummy; ip link add dummy0 type dummy; ip link set dummy0 up; ' +
          'ip address add 198.51.100.1/24 dev dummy0; ip route add $LAB_PEER/32 dev dummy0',
      );
      const findings = await toPeer();
      expect(find(findings, 'between', 'route')).toMatchObject({
        status: 'problem',
        commands: ['rdma link add rxe_dummy0 type rxe netdev dummy0'],
      });
      expect(find(findings, 'between', 'reachable')?.status).toBe('problem');
      await shell('a', 'ip link delete dummy0');
    },
    PATIENCE_MS,
  );

  test(
    'no way there',
    async () => {
      await shell('a', 'ip route del 192.0.2.0/24');
      const findings = await toPeer();
      expect(find(findings, 'between', 'route')).toMatchObject({
        status: 'problem',
        seen: 'there is no way to 192.0.2.2 (ENETUNREACH)',
      });
      await shell('a', 'ip route add 192.0.2.0/24 dev eth0');
    },
    PATIENCE_MS,
  );
});
