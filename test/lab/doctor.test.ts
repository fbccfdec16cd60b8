// Classic mistakes in setting RDMA up, each made for real on a host of the laboratory, found there by `splitplane doctor`, and
// undone by typing what doctor says, where it says what undoes it. Then those that only two hosts can make.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CommandOptions, HostName, Hosts, Job } from '../../ci/lab/lab.mjs';
import { CLI } from '../cli/support.js';
import { program } from '../support/processes.js';
import { laboratory, output } from './laboratory.js';

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

let lab: Hosts;

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

/** A doctor on host a that stays, and looks at the way to its argument if it has one. */
class Resident {
  readonly #job: Job;
  #looks = 0;

  constructor(argument = '') {
    this.#job = lab.spawn('a', `exec ${process.execPath} ${program('diagnose')} ${argument}`);
  }

  async ready(): Promise<void> {
    await this.#job.until(/^ready$/m);
  }

  async look(): Promise<Finding[]> {
    this.#job.signal('SIGHUP');
    const [line] = await this.#job.until(new RegExp(`^{"look":${++this.#looks},.*$`, 'm'));
    return (JSON.parse(line) as { findings: Finding[] }).findings;
  }

  async end(): Promise<void> {
    this.#job.signal('SIGTERM');
    await this.#job.result;
  }
}

beforeAll(async () => {
  lab = await laboratory();
  // The files of a container that the laboratory may run in are its hosts' files; they are not in a container themselves.
  await Promise.all(lab.hosts.map((host) => output(host, 'rm -f /.dockerenv /run/.containerenv')));
});

describe('a host by itself', () => {
  let staying: Resident;

  beforeAll(async () => {
    staying = new Resident();
    await staying.ready();
  });

  afterAll(() => staying.end());

  test('has nothing wrong, and RDMA can be used', async () => {
    const findings = await doctor('a', '');
    expect(wrong(findings)).toEqual([]);
    expect(find(findings, 'here', 'transport')?.status).toBe('ok');
  });

  test.each(Object.entries(MISTAKES))('%s', async (_, { make, undo, wrong: expected, seen }) => {
    await output('a', make);
    const found = wrong(await staying.look());
    expect(found.map(({ id }) => id)).toEqual(expected);
    expect(found[0]?.seen).toMatch(seen);
    expect(found[0]?.advice).toMatch(/\w+ \w+/);
    await output('a', undo ?? (found[0]?.commands ?? ['false']).join(' && '));
    expect(wrong(await staying.look())).toEqual([]);
  });

  test('a device node that a user may not open, and too little memory that may be locked', async () => {
    await output('a', 'chmod 600 /dev/infiniband/uverbs0');
    const found = wrong(await doctor('a', '', { user: 'nobody', memlockBytes: 65_536 }));
    expect(found.map(({ id, seen }) => [id, seen])).toEqual([
      ['device-nodes', 'this user may not read and write it'],
      ['locked-memory', 'limited to 64 KiB, which is too little to register memory'],
    ]);
    await output('a', found[0]?.commands?.join(' && ') ?? 'false');
    // Root is bound by the limit too without CAP_IPC_LOCK.
    expect(wrong(await doctor('a', '', { memlockBytes: 65_536 })).map(({ id }) => id)).toEqual([
      'locked-memory',
    ]);
  });
});

describe('two hosts', () => {
  let serving: Job;
  let staying: Resident;

  async function serve(): Promise<void> {
    const listen = `--listen 0.0.0.0:${PORT} --allow-insecure --root /tmp`;
    serving = lab.spawn('b', `exec ${process.execPath} ${CLI} serve ${listen}`);
    await serving.until(/^Listening on /);
  }

  async function stop(): Promise<void> {
    serving.signal('SIGTERM');
    await serving.result;
  }

  beforeAll(async () => {
    staying = new Resident(`$LAB_PEER:${PORT}`);
    await Promise.all([serve(), staying.ready()]);
  });

  afterAll(() => Promise.all([stop(), staying.end()]));

  async function toPeer(port: number): Promise<Finding[]> {
    return await doctor('a', `$LAB_PEER:${port} --allow-insecure`);
  }

  test('reach each other by their RDMA devices, and fit', async () => {
    const findings = await toPeer(PORT);
    expect(wrong(findings)).toEqual([]);
    expect(wrong(findings, 'there')).toEqual([]);
    for (const id of [
      'name',
      'route',
      'reachable',
      'control-plane',
      'other-side',
      'versions',
      'mtu-match',
      'data-plane',
      'choice',
    ])
      expect(find(findings, 'between', id)).toMatchObject({ status: 'ok' });
    expect(find(findings, 'between', 'route')?.seen).toMatch(/by eth0, which carries rxe0\/1$/);
    expect(find(findings, 'between', 'data-plane')?.seen).toMatch(/^1 MiB there and back over RDMA.* 4096$/);
    expect(find(findings, 'between', 'choice')?.seen).toMatch(/over rdma:/);
  });

  test('unequal MTUs', async () => {
    await output('b', 'ip link set eth0 mtu 1500');
    const findings = await staying.look();
    await output('b', 'ip link set eth0 mtu 4200');
    expect(find(findings, 'between', 'mtu-match')).toMatchObject({
      status: 'problem',
      commands: ['ip link set eth0 mtu 4200'],
    });
    expect(wrong(findings, 'there').map(({ id }) => id)).toEqual(['mtu']);
    expect(find(findings, 'between', 'data-plane')).toMatchObject({
      status: 'problem',
      seen: expect.stringMatching(/^connected over RDMA, but 1 MiB do not get through/) as string,
      commands: ['ping -c 3 -M do -s 4172 192.0.2.2'],
    });
  });

  test('the filter of the other side drops UDP 4791', async () => {
    await output('b', DROP);
    const findings = await staying.look();
    await output('b', 'nft delete table inet lab');
    expect(find(findings, 'there', 'firewall')).toMatchObject({
      status: 'problem',
      commands: ['nft insert rule inet lab input udp dport 4791 accept'],
    });
    expect(find(findings, 'between', 'data-plane')).toMatchObject({
      status: 'problem',
      seen: expect.stringMatching(/^no connection over RDMA: /) as string,
    });
  });

  test('nobody listens at the port', async () => {
    const findings = await toPeer(PORT + 1);
    expect(find(findings, 'between', 'reachable')).toMatchObject({
      status: 'problem',
      commands: [`splitplane serve --listen 192.0.2.2:${PORT + 1} --allow-insecure`],
    });
  });

  test('packets leave by a network device without RDMA', async () => {
    await output(
      'a',
      'modprobe dummy; ip link add dummy0 type dummy; ip link set dummy0 up; ' +
        'ip address add 198.51.100.1/24 dev dummy0; ip route add $LAB_PEER/32 dev dummy0',
    );
    const findings = await staying.look();
    await output('a', 'ip link delete dummy0');
    expect(find(findings, 'between', 'route')).toMatchObject({
      status: 'problem',
      commands: ['rdma link add rxe_dummy0 type rxe netdev dummy0'],
    });
    expect(find(findings, 'between', 'reachable')?.status).toBe('problem');
  });

  test('no way there', async () => {
    await output('a', 'ip route del 192.0.2.0/24');
    const findings = await staying.look();
    await output('a', 'ip route add 192.0.2.0/24 dev eth0');
    expect(find(findings, 'between', 'route')).toMatchObject({
      status: 'problem',
      seen: 'there is no way to 192.0.2.2 (ENETUNREACH)',
    });
  });

  test('no device on the other side', async () => {
    // The kernel waits for whoever uses a device before it takes it away.
    await stop();
    await output('b', 'rdma link delete rxe0');
    await serve();
    const findings = await staying.look();
    await output('b', 'rdma link add rxe0 type rxe netdev eth0');
    expect(wrong(findings)).toEqual([]);
    expect(wrong(findings, 'there').map(({ id }) => id)).toEqual(['devices']);
    expect(find(findings, 'between', 'mtu-match')?.seen).toMatch(/none at 192\.0\.2\.2/);
    expect(find(findings, 'between', 'data-plane')).toMatchObject({
      status: 'skipped',
      seen: expect.stringMatching(/^RDMA cannot be used at 192\.0\.2\.2/) as string,
    });
    expect(find(findings, 'between', 'choice')).toMatchObject({
      status: 'warning',
      seen: expect.stringMatching(
        /over tcp:.*, not over RDMA: RDMA cannot be used at 192\.0\.2\.2/,
      ) as string,
    });
  });
});
