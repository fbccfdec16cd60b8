// A host for doctor's checks: a tree of files as sysfs, procfs and /dev of a machine with a working soft-RoCE device show
// them, and the changes that a test makes to it before doctor looks.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach } from 'vitest';
import { gatherFacts, type Facts } from '../../../lib/cli/doctor/facts.js';
import { Machine, type DeviceAddress, type MachineOptions } from '../../../lib/cli/doctor/machine.js';
import type { TransportFacts } from '../../../lib/dataplane/native.js';

export const V4_GID = '0000:0000:0000:0000:0000:ffff:c633:6401';
export const V6_GID = 'fd00:0000:0000:0000:0000:0000:0000:0001';
export const LINK_LOCAL_GID = 'fe80:0000:0000:0000:5054:00ff:fe12:3401';

export const ADDRESSES: readonly DeviceAddress[] = [
  { device: 'lo', address: '127.0.0.1', prefixLength: 8 },
  { device: 'eth0', address: '198.51.100.1', prefixLength: 24 },
  { device: 'eth0', address: 'fd00::1', prefixLength: 64 },
  { device: 'eth0', address: 'fe80::5054:ff:fe12:3401', prefixLength: 64 },
];

const KERNEL = '6.1.0-37-amd64';
const USABLE: readonly TransportFacts[] = [
  { name: 'rdma', available: true, facts: [] },
  { name: 'tcp', available: true, facts: [] },
];

/** Files by path; a value of undefined takes one away with all below it, one that begins with `->` is a link. */
export type Changes = Readonly<Record<string, string | undefined>>;

export function port(
  place: string,
  gids: readonly (readonly [gid: string, type: string, net: string])[],
): Changes {
  const files: Record<string, string> = {
    [`${place}/state`]: '4: ACTIVE',
    [`${place}/phys_state`]: '5: LinkUp',
    [`${place}/link_layer`]: 'Ethernet',
  };
  gids.forEach(([gid, type, net], index) => {
    files[`${place}/gids/${index}`] = gid;
    files[`${place}/gid_attrs/types/${index}`] = type;
    files[`${place}/gid_attrs/ndevs/${index}`] = net;
  });
  // An entry that is not used: reading its type fails in sysfs.
  files[`${place}/gids/${gids.length}`] = '0000:0000:0000:0000:0000:0000:0000:0000';
  return files;
}

export function netDevice(name: string, { mtu = 4200, flags = '0x1003' } = {}): Changes {
  const place = `/sys/class/net/${name}`;
  return {
    [`${place}/flags`]: flags,
    [`${place}/type`]: name === 'lo' ? '772' : '1',
    [`${place}/carrier`]: '1',
    [`${place}/mtu`]: String(mtu),
  };
}

export const PORT = '/sys/class/infiniband/rxe0/ports/1';

const HEALTHY: Changes = {
  '/proc/sys/kernel/osrelease': `${KERNEL}\n`,
  '/proc/modules': ['rdma_ucm', 'rdma_cm', 'rdma_rxe', 'ib_uverbs', 'ib_core']
    .map((name) => `${name} 40960 0 - Live 0x0000000000000000\n`)
    .join(''),
  '/proc/crypto': 'name         : crc32\ndriver       : crc32-generic\n',
  '/proc/self/limits':
    'Limit                     Soft Limit           Hard Limit           Units     \n' +
    'Max locked memory         unlimited            unlimited            bytes     \n',
  '/proc/self/status': 'Name:\tnode\nCapEff:\t0000000000000000\n',
  '/proc/self/uid_map': '         0          0 4294967295\n',
  '/etc/os-release': 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n',
  [`/lib/modules/${KERNEL}/modules.dep`]: [
    'kernel/drivers/infiniband/core/ib_uverbs.ko: kernel/drivers/infiniband/core/ib_core.ko',
    'kernel/drivers/infiniband/core/rdma_ucm.ko:',
    'kernel/drivers/infiniband/sw/rxe/rdma_rxe.ko.xz:',
  ].join('\n'),
  '/usr/lib/x86_64-linux-gnu/libibverbs.so.1': '',
  '/usr/lib/x86_64-linux-gnu/librdmacm.so.1': '',
  '/usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so': '',
  '/sys/module/ib_core/parameters/netns_mode': 'Y',
  '/sys/class/infiniband_verbs/uverbs0/ibdev': 'rxe0',
  '/sys/class/infiniband_verbs/abi_version': '6',
  '/sys/class/misc/rdma_cm/dev': '10:122',
  '/dev/infiniband/uverbs0': '',
  '/dev/infiniband/rdma_cm': '',
  '/sys/class/infiniband/rxe0/node_type': '1: CA',
  '/sys/class/infiniband/rxe0/node_desc': 'rxe',
  '/sys/class/infiniband/rxe0/parent': 'eth0',
  ...port(PORT, [
    [LINK_LOCAL_GID, 'RoCE v2', 'eth0'],
    [V4_GID, 'RoCE v2', 'eth0'],
    [V6_GID, 'RoCE v2', 'eth0'],
  ]),
  ...netDevice('lo', { mtu: 65536, flags: '0x9' }),
  ...netDevice('eth0'),
};

export interface HostOptions extends MachineOptions {
  readonly transports?: readonly TransportFacts[];
  readonly version?: string;
}

const directories = new Set<string>();

afterEach(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  directories.clear();
});

/** A directory, gone after the test, to which the files were written and from which others were taken, in order. */
export function makeRoot(...steps: readonly Changes[]): string {
  const root = mkdtempSync(join(tmpdir(), 'splitplane-doctor-'));
  directories.add(root);
  for (const [path, content] of steps.flatMap((files) => Object.entries(files))) {
    const place = join(root, path);
    rmSync(place, { recursive: true, force: true });
    if (content === undefined) continue;
    mkdirSync(dirname(place), { recursive: true });
    if (content.startsWith('->')) symlinkSync(content.slice(2), place);
    else writeFileSync(place, content);
  }
  return root;
}

/** What doctor gathers of the healthy host after `changes`. */
export async function hostWith(changes: Changes = {}, options: HostOptions = {}): Promise<Facts> {
  const { transports = USABLE, version = '1.0.0', ...machine } = options;
  const looked = new Machine({
    root: makeRoot(HEALTHY, changes),
    addresses: () => ADDRESSES,
    run: () => Promise.resolve(undefined),
    environment: {},
    ...machine,
  });
  return await gatherFacts(looked, version, transports);
}
