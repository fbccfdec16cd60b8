// What doctor says of a host by itself: nothing of a healthy one, and of each classic mistake in setting one up the
// finding that names it and what to type. Each mistake is made alone, in a tree of files as the kernel shows it.
import { describe, expect, test } from 'vitest';
import { examine } from '../../../lib/cli/doctor/diagnosis.js';
import type { Finding } from '../../../lib/cli/doctor/finding.js';
import {
  ADDRESSES,
  hostWith,
  LINK_LOCAL_GID,
  netDevice,
  port,
  PORT,
  V4_GID,
  V6_GID,
  type Changes,
  type HostOptions,
} from './doctor-host.js';

const NO_DEVICE: Changes = {
  '/sys/class/infiniband/rxe0': undefined,
  '/sys/class/infiniband_verbs/uverbs0': undefined,
  '/dev/infiniband/uverbs0': undefined,
};
const NO_MODULES: Changes = {
  ...NO_DEVICE,
  '/proc/modules': 'ext4 983040 1 - Live 0x0000000000000000\n',
  '/sys/class/infiniband_verbs': undefined,
  '/sys/class/misc/rdma_cm': undefined,
  '/sys/module/ib_core': undefined,
  '/dev/infiniband': undefined,
};
const OLD_GIDS = [LINK_LOCAL_GID, V4_GID, V6_GID].map((gid) => [gid, 'IB/RoCE v1', 'eth0'] as const);
const LIMITED: Changes = {
  '/proc/self/limits': 'Max locked memory         8388608              8388608              bytes     \n',
};
const CONTAINER: Changes = { '/.dockerenv': '' };
const openError = (error: string): HostOptions => ({
  openError: (path) => (path.endsWith('uverbs0') ? error : undefined),
});

interface Mistake {
  readonly changes?: Changes;
  readonly options?: HostOptions;
  /** Ids of everything that is a problem or a warning then. */
  readonly wrong: readonly string[];
  /** What the first of them says, and says to type. */
  readonly seen: RegExp;
  readonly does: RegExp;
  readonly warning?: boolean;
}

const MISTAKES: Readonly<Record<string, Mistake>> = {
  'no kernel modules': {
    changes: NO_MODULES,
    wrong: ['modules', 'devices'],
    seen: /not loaded: ib_uverbs, rdma_ucm; no driver/,
    does: /modprobe --all ib_uverbs rdma_ucm rdma_rxe/,
  },
  'a kernel that has no such modules': {
    changes: { ...NO_MODULES, '/lib/modules/6.1.0-37-amd64/modules.dep': 'kernel/fs/ext4/ext4.ko:\n' },
    wrong: ['modules', 'devices'],
    seen: /kernel 6\.1\.0-37-amd64 was installed without ib_uverbs, rdma_ucm, rdma_rxe/,
    does: /linux-modules-extra/,
  },
  'no modules, in a container': {
    changes: { ...NO_MODULES, ...CONTAINER },
    wrong: ['modules', 'devices'],
    seen: /not loaded/,
    does: /docker.*kernel of its host.*modprobe/,
  },
  'rdma_ucm is not loaded': {
    changes: {
      '/proc/modules': 'rdma_rxe 1 0 - Live 0x0\nib_uverbs 1 0 - Live 0x0\n',
      '/sys/class/misc/rdma_cm': undefined,
    },
    wrong: ['modules'],
    seen: /^not loaded: rdma_ucm$/,
    does: /modprobe --all rdma_ucm$/,
  },
  'no device, although soft-RoCE is loaded': {
    changes: NO_DEVICE,
    wrong: ['devices'],
    seen: /none, although soft-RoCE/,
    does: /rdma link add rxe0 type rxe netdev eth0/,
  },
  'no device, and the kernel has no CRC32 for one': {
    changes: { ...NO_DEVICE, '/proc/crypto': 'name : sha256\n' },
    wrong: ['devices'],
    seen: /none/,
    does: /modprobe crc32_generic.*rdma link add/,
  },
  'the device is in another network namespace': {
    changes: { ...NO_DEVICE, '/sys/module/ib_core/parameters/netns_mode': 'N' },
    wrong: ['devices'],
    seen: /none in this network namespace/,
    does: /rdma dev set DEVICE netns/,
  },
  'the network device is in another network namespace': {
    changes: { '/sys/class/net/eth0': undefined },
    wrong: ['net-device'],
    seen: /eth0 is not in this network namespace/,
    does: /ip link set eth0 netns/,
  },
  'a library is missing': {
    changes: { '/usr/lib/x86_64-linux-gnu/librdmacm.so.1': undefined },
    options: {
      transports: [{ name: 'rdma', available: false, reason: 'librdmacm.so.1 cannot be loaded', facts: [] }],
    },
    wrong: ['libraries', 'transport'],
    seen: /^missing: librdmacm\.so\.1$/,
    does: /apt install .*librdmacm1/,
  },
  'a library is missing, on Fedora': {
    changes: {
      '/usr/lib/x86_64-linux-gnu/libibverbs.so.1': undefined,
      '/etc/os-release': 'ID="rocky"\nID_LIKE="rhel centos fedora"\n',
    },
    wrong: ['libraries'],
    seen: /missing: libibverbs\.so\.1$/,
    does: /dnf install libibverbs librdmacm/,
  },
  'the provider of the device is missing': {
    changes: {
      '/usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so': undefined,
      '/usr/lib/x86_64-linux-gnu/libibverbs/libmlx5-rdmav34.so': '',
    },
    wrong: ['providers'],
    seen: /none for rxe/,
    does: /apt install .*ibverbs-providers/,
  },
  'a device node that this user may not open': {
    options: openError('EACCES'),
    wrong: ['device-nodes'],
    seen: /this user may not read and write it/,
    does: /chmod 666 \/dev\/infiniband\/uverbs0/,
  },
  'a device node that a container forbids': {
    options: openError('EPERM'),
    wrong: ['device-nodes'],
    seen: /controller of a container/,
    does: /docker run --device \/dev\/infiniband/,
  },
  'a device node that is missing': {
    changes: { '/dev/infiniband/uverbs0': undefined },
    wrong: ['device-nodes'],
    seen: /missing/,
    does: /udevadm trigger/,
  },
  'a device node that was not handed to the container': {
    changes: { ...CONTAINER, '/dev/infiniband/uverbs0': undefined },
    wrong: ['device-nodes'],
    seen: /not in this container/,
    does: /docker run --device/,
  },
  'the network device is down': {
    changes: {
      ...netDevice('eth0', { flags: '0x1002' }),
      [`${PORT}/state`]: '1: DOWN',
      [`${PORT}/phys_state`]: '3: Disabled',
    },
    wrong: ['port', 'net-device'],
    seen: /DOWN, Disabled, Ethernet: its network device eth0 is down/,
    does: /ip link set eth0 up/,
  },
  'no cable': {
    changes: {
      '/sys/class/net/eth0/carrier': '0',
      [`${PORT}/state`]: '1: DOWN',
      [`${PORT}/phys_state`]: '2: Polling',
    },
    wrong: ['port', 'net-device'],
    seen: /DOWN, Polling/,
    does: /cable.*ethtool eth0/,
  },
  'an InfiniBand port without a subnet manager': {
    changes: { [`${PORT}/state`]: '2: INIT', [`${PORT}/link_layer`]: 'InfiniBand' },
    wrong: ['port'],
    seen: /INIT, LinkUp, InfiniBand/,
    does: /opensm/,
  },
  'no address': {
    changes: { [`${PORT}/gids/1`]: undefined, [`${PORT}/gids/2`]: undefined },
    options: { addresses: () => ADDRESSES.filter(({ device }) => device === 'lo') },
    wrong: ['net-device'],
    seen: /eth0 has no address/,
    does: /ip address add 192\.168\.100\.1\/24 dev eth0/,
  },
  'no GID at all': {
    changes: { [`${PORT}/gids`]: undefined },
    wrong: ['gids'],
    seen: /^none/,
    does: /ip address del fd00::1\/64 dev eth0 && ip address add fd00::1\/64 dev eth0/,
  },
  'no RoCE v2 GID for an address': {
    changes: { [`${PORT}/gids/1`]: undefined },
    wrong: ['gids'],
    seen: /no RoCE v2 GID for 198\.51\.100\.1:/,
    does: /ip address del 198\.51\.100\.1\/24 dev eth0 && ip address add 198\.51\.100\.1\/24 dev eth0$/,
    warning: true,
  },
  'only RoCE v1': {
    changes: port(PORT, OLD_GIDS),
    wrong: ['gids'],
    seen: /3 GIDs, all of RoCE v1/,
    does: /Switch RoCE v2 on/,
  },
  'only RoCE v1, by an option of the driver': {
    changes: {
      ...port(PORT, OLD_GIDS),
      '/sys/class/infiniband/rxe0/device/driver': '->../../bus/pci/drivers/mlx4_core',
      '/usr/lib/x86_64-linux-gnu/libibverbs/libmlx4-rdmav34.so': '',
    },
    wrong: ['gids'],
    seen: /RoCE v1/,
    does: /roce_mode=2/,
  },
  'an MTU of 1500': {
    changes: netDevice('eth0', { mtu: 1500 }),
    wrong: ['mtu'],
    seen: /eth0 has 1500, so RDMA packets carry 1024 bytes, of at most 4096/,
    does: /ip link set eth0 mtu 4200/,
    warning: true,
  },
  'an MTU in which nothing fits': {
    changes: netDevice('eth0', { mtu: 300 }),
    wrong: ['mtu'],
    seen: /300, in which no RDMA packet fits/,
    does: /ip link set eth0 mtu 1500/,
  },
  'too little memory may be locked': {
    changes: LIMITED,
    wrong: ['locked-memory'],
    seen: /limited to 8 MiB/,
    does: /limits\.d.*memlock unlimited/,
  },
  'too little memory may be locked, and the user may raise it': {
    changes: { '/proc/self/limits': 'Max locked memory         65536     unlimited      bytes\n' },
    wrong: ['locked-memory'],
    seen: /limited to 64 KiB/,
    does: /ulimit -l unlimited/,
  },
  'too little memory may be locked, in a container': {
    changes: { ...LIMITED, ...CONTAINER },
    wrong: ['locked-memory'],
    seen: /limited to 8 MiB/,
    does: /--ulimit memlock=-1/,
  },
  'little memory may be locked': {
    changes: { '/proc/self/limits': 'Max locked memory         134217728     134217728      bytes\n' },
    wrong: ['locked-memory'],
    seen: /limited to 128 MiB; larger transfers/,
    does: /memlock unlimited/,
    warning: true,
  },
  'a capability that only a user namespace grants': {
    changes: {
      ...LIMITED,
      '/proc/self/status': 'CapEff:\t000001ffffffffff\n',
      '/proc/self/uid_map': '         0       1000          1\n',
    },
    wrong: ['locked-memory'],
    seen: /limited to 8 MiB/,
    does: /memlock unlimited/,
  },
  'two devices in one subnet': {
    changes: {
      ...netDevice('eth1'),
      '/sys/class/infiniband/rxe1/parent': 'eth1',
      ...port('/sys/class/infiniband/rxe1/ports/1', [
        ['0000:0000:0000:0000:0000:ffff:c633:6409', 'RoCE v2', 'eth1'],
      ]),
    },
    options: {
      addresses: () => [...ADDRESSES, { device: 'eth1', address: '198.51.100.9', prefixLength: 24 }],
    },
    wrong: ['subnets'],
    seen: /198\.51\.100\.1\/24 and 198\.51\.100\.9\/24 are one subnet/,
    does: /arp_ignore=1/,
    warning: true,
  },
};

function wrongOf(findings: readonly Finding[]): Finding[] {
  return findings.filter(({ status }) => status === 'problem' || status === 'warning');
}

describe('a healthy host', () => {
  test('has nothing wrong, and nothing that could not be looked at but the filter, whose tools are not there', async () => {
    const findings = examine(await hostWith());
    expect(wrongOf(findings)).toEqual([]);
    expect(findings.filter(({ status }) => status === 'skipped').map(({ id }) => id)).toEqual(['firewall']);
  });

  test('is named: device, port, network device, addresses, MTU', async () => {
    const seen = Object.fromEntries(examine(await hostWith()).map(({ id, seen }) => [id, seen]));
    expect(seen).toMatchObject({
      devices: 'rxe0 (rxe)',
      port: 'ACTIVE, LinkUp, Ethernet',
      'net-device': 'eth0 is up: 198.51.100.1/24, fd00::1/64, fe80::5054:ff:fe12:3401/64',
      gids: '3 GIDs of RoCE v2, for every address (IPv4: 1, IPv6: 2)',
      mtu: 'eth0 has 4200, so RDMA packets carry 4096 bytes',
      'device-nodes': '/dev/infiniband/uverbs0, /dev/infiniband/rdma_cm',
    });
  });

  test('is not bound by the locked-memory limit with the capability of the host', async () => {
    const changes = { ...LIMITED, '/proc/self/status': 'CapEff:\t0000000000004000\n' };
    expect(wrongOf(examine(await hostWith(changes)))).toEqual([]);
  });

  test('may have its modules built in, its libraries in a folder of ld.so.conf, and two subnets', async () => {
    const facts = await hostWith(
      {
        '/proc/modules': '',
        '/usr/lib/x86_64-linux-gnu': undefined,
        '/etc/ld.so.conf.d/vendor.conf': '# ours\n/opt/vendor/lib\n',
        '/opt/vendor/lib/libibverbs.so.1': '',
        '/opt/vendor/lib/librdmacm.so.1': '',
        '/opt/vendor/lib/libibverbs/librxe-rdmav34.so': '',
        ...netDevice('eth1'),
        '/sys/class/infiniband/rxe1/parent': 'eth1',
        ...port('/sys/class/infiniband/rxe1/ports/1', [
          ['0000:0000:0000:0000:0000:ffff:cb00:7109', 'RoCE v2', 'eth1'],
        ]),
      },
      { addresses: () => [...ADDRESSES, { device: 'eth1', address: '203.0.113.9', prefixLength: 24 }] },
    );
    expect(wrongOf(examine(facts))).toEqual([]);
    expect(examine(facts)).toContainEqual(expect.objectContaining({ id: 'subnets', status: 'ok' }));
  });
});

describe('a classic mistake is found, with what to do', () => {
  test.each(Object.entries(MISTAKES))('%s', async (_, { changes, options, wrong, seen, does, warning }) => {
    const found = wrongOf(examine(await hostWith(changes, options)));
    expect(found.map(({ id }) => id)).toEqual(wrong);
    const [first] = found;
    expect(first?.status).toBe(warning === true ? 'warning' : 'problem');
    expect(first?.seen).toMatch(seen);
    expect([first?.advice, ...(first?.commands ?? [])].join(' ; ')).toMatch(does);
    for (const { advice } of found) expect(advice).toMatch(/\w+ \w+/);
  });
});

describe('odd files', () => {
  // Goal: whatever lies where sysfs should be, doctor looks and does not throw.
  test('are looked at without throwing', async () => {
    const facts = await hostWith({
      '/proc/modules': '\0\0\0',
      '/proc/self/limits': 'Max locked memory   many   99999999999999999999999999 bytes',
      '/proc/self/status': 'CapEff:\tzz\n',
      '/proc/sys/kernel/osrelease': '../../..',
      '/sys/class/net': 'a file',
      '/sys/class/infiniband/rxe0/ports/1/gids/0': 'not a gid',
      '/sys/class/infiniband/rxe0/ports/x/state': '4: ACTIVE',
      '/sys/class/infiniband/file': 'not a directory',
      '/sys/class/infiniband/loop': '->loop',
      '/dev/infiniband/uverbs0': '->/nowhere',
    });
    expect(facts.lockedMemory).toEqual({ soft: undefined, hard: undefined, unbound: false });
    for (const { status, advice } of examine(facts))
      expect(advice === undefined).toBe(status === 'ok' || status === 'skipped');
  });

  test('of an empty tree nothing can be said but what is missing', async () => {
    const everything = ['/proc', '/sys', '/dev', '/etc', '/usr', '/lib'];
    const facts = await hostWith(Object.fromEntries(everything.map((path) => [path, undefined])));
    expect(wrongOf(examine(facts)).map(({ id }) => id)).toEqual(['libraries', 'modules', 'devices']);
  });
});
