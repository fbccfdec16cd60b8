// What doctor knows of a machine, as one plain object, and the gathering of it. No judgement: what the facts mean is said by
// the checks beside this file. Devices and their ports are in devices.ts, the packet filter in firewall.ts.
import type { TransportFacts } from '../../dataplane/native.js';
import { gatherDevices, gatherNetDevices, type NetDevice, type RdmaDevice } from './devices.js';
import { gatherFirewall, type FirewallFacts } from './firewall.js';
import type { Machine } from './machine.js';

/** Kernel modules that every RDMA program needs. */
export const MODULES_NEEDED = ['ib_uverbs', 'rdma_ucm'] as const;
/** Drivers of RDMA devices, as kernel modules; the first makes one of any Ethernet card. */
export const DRIVER_MODULES = [
  'rdma_rxe',
  'mlx5_ib',
  'mlx4_ib',
  'irdma',
  'bnxt_re',
  'qedr',
  'hns_roce_hw_v2',
  'erdma',
  'efa',
  'mana_ib',
  'ionic_rdma',
  'ocrdma',
  'vmw_pvrdma',
  'iw_cxgb4',
  'siw',
  'hfi1',
] as const;
/** Shared libraries that the transport loads. */
export const LIBRARIES = ['libibverbs.so.1', 'librdmacm.so.1'] as const;

const LIBRARY_FOLDERS_MAX = 256;
/** CAP_IPC_LOCK of capabilities(7). */
const CAP_IPC_LOCK = 14n;
/** The user namespace that maps every id to itself: that of the host. */
const WHOLE_ID_RANGE = /^\s*0\s+0\s+4294967295$/;

/** A device node, and why it cannot be used: an errno. */
export interface DeviceNode {
  readonly path: string;
  readonly error: string | undefined;
}

export interface LockedMemory {
  /** Bytes; Infinity is no limit, undefined unknown. */
  readonly soft: number | undefined;
  readonly hard: number | undefined;
  /** Capabilities free this process of the limit. */
  readonly unbound: boolean;
}

export interface Facts {
  readonly version: string;
  readonly kernel: string | undefined;
  /** ID and ID_LIKE of os-release(5). */
  readonly distributions: readonly string[];
  /** What sort of container this is in, if in one. */
  readonly container: string | undefined;
  readonly transports: readonly TransportFacts[];
  /** Folders in which each of LIBRARIES was found, by name. */
  readonly libraries: ReadonlyMap<string, string>;
  /** Names of the devices' drivers in user space: rxe, mlx5. */
  readonly providers: readonly string[];
  readonly modulesLoaded: ReadonlySet<string>;
  /** Modules that the kernel could load; undefined when its list cannot be read. */
  readonly modulesAvailable: ReadonlySet<string> | undefined;
  /** Whether the kernel computes CRC32 for modules that ask it to: soft-RoCE does. */
  readonly kernelCrc32: boolean;
  readonly namespaces: 'shared' | 'exclusive' | undefined;
  readonly devices: readonly RdmaDevice[];
  readonly nodes: readonly DeviceNode[];
  readonly netDevices: readonly NetDevice[];
  readonly lockedMemory: LockedMemory;
  readonly firewall: FirewallFacts;
}

/** Looks at a machine. Never rejects: what cannot be seen is left out. */
export async function gatherFacts(
  machine: Machine,
  version: string,
  transports: readonly TransportFacts[],
): Promise<Facts> {
  const kernel = machine.read('/proc/sys/kernel/osrelease');
  const devices = gatherDevices(machine);
  const folders = libraryFolders(machine);
  return {
    version,
    kernel,
    transports,
    distributions: distributions(machine),
    container: containerOf(machine),
    libraries: librariesIn(machine, folders),
    providers: providersIn(machine, folders),
    modulesLoaded: modulesLoaded(machine),
    modulesAvailable: kernel === undefined ? undefined : modulesAvailable(machine, kernel),
    kernelCrc32: /^name\s*:\s*crc32$/m.test(machine.read('/proc/crypto') ?? ''),
    namespaces: namespaceMode(machine),
    devices,
    nodes: deviceNodes(machine),
    netDevices: gatherNetDevices(machine),
    lockedMemory: lockedMemory(machine),
    firewall: await gatherFirewall(machine, devices),
  };
}

function distributions(machine: Machine): string[] {
  const text = machine.read('/etc/os-release') ?? machine.read('/usr/lib/os-release') ?? '';
  const values = [...text.matchAll(/^(?:ID|ID_LIKE)=["']?([^"'\n]*)/gm)].map(([, value = '']) => value);
  return values.flatMap((value) => value.split(/\s+/)).filter((name) => name !== '');
}

function containerOf(machine: Machine): string | undefined {
  if (machine.exists('/.dockerenv')) return 'docker';
  if (machine.exists('/run/.containerenv')) return 'podman';
  if (machine.environment.KUBERNETES_SERVICE_HOST !== undefined) return 'kubernetes';
  const named = machine.read('/run/systemd/container');
  if (named !== undefined && named !== '') return named;
  return /kubepods|docker|containerd|lxc/.exec(machine.read('/proc/1/cgroup') ?? '')?.[0];
}

/** Where the loader looks: LD_LIBRARY_PATH, ld.so.conf(5) with the files it includes, and what is built in. */
function libraryFolders(machine: Machine): string[] {
  const configured = [
    '/etc/ld.so.conf',
    ...machine.list('/etc/ld.so.conf.d').map((name) => `/etc/ld.so.conf.d/${name}`),
  ]
    .flatMap((path) => (machine.read(path) ?? '').split('\n'))
    .map((line) => line.replace(/#.*/, '').trim());
  const named = [...(machine.environment.LD_LIBRARY_PATH ?? '').split(':'), ...configured];
  const builtIn = ['/lib', '/usr/lib', '/lib64', '/usr/lib64', '/usr/local/lib'];
  const triplets = machine.list('/usr/lib').filter((name) => name.endsWith('-linux-gnu'));
  const all = [...named, ...triplets.map((name) => `/usr/lib/${name}`), ...builtIn];
  return [...new Set(all.filter((path) => path.startsWith('/')))].slice(0, LIBRARY_FOLDERS_MAX);
}

function librariesIn(machine: Machine, folders: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of LIBRARIES) {
    const folder = folders.find((path) => machine.exists(`${path}/${name}`));
    if (folder !== undefined) found.set(name, folder);
  }
  return found;
}

/** libibverbs looks for them in a folder of its own beside itself: libibverbs/libmlx5-rdmav34.so. */
function providersIn(machine: Machine, folders: readonly string[]): string[] {
  const names = folders
    .flatMap((folder) => machine.list(`${folder}/libibverbs`))
    .flatMap((name) => /^lib(\w+)-rdmav\d+\.so$/.exec(name)?.[1] ?? []);
  return [...new Set(names)];
}

/** What is built into the kernel counts too: it shows by the classes it makes. */
function modulesLoaded(machine: Machine): Set<string> {
  const lines = (machine.read('/proc/modules') ?? '').split('\n');
  const loaded = new Set(lines.map((line) => line.split(' ')[0] ?? ''));
  for (const name of [...MODULES_NEEDED, ...DRIVER_MODULES])
    if (machine.exists(`/sys/module/${name}`)) loaded.add(name);
  if (machine.exists('/sys/class/infiniband_verbs')) loaded.add('ib_uverbs');
  if (machine.exists('/sys/class/misc/rdma_cm')) loaded.add('rdma_ucm');
  return loaded;
}

function modulesAvailable(machine: Machine, kernel: string): Set<string> | undefined {
  const folders = [`/lib/modules/${kernel}`, `/usr/lib/modules/${kernel}`];
  const texts = folders.flatMap((folder) => [
    machine.read(`${folder}/modules.dep`) ?? [],
    machine.read(`${folder}/modules.builtin`) ?? [],
  ]);
  if (texts.flat().length === 0) return undefined;
  const names = [
    ...texts
      .flat()
      .join('\n')
      .matchAll(/^[^:\n]*?([^/:\n]+)\.ko/gm),
  ];
  return new Set(names.map(([, name = '']) => name.replaceAll('-', '_')));
}

function namespaceMode(machine: Machine): Facts['namespaces'] {
  const value = machine.read('/sys/module/ib_core/parameters/netns_mode');
  if (value === undefined) return undefined;
  return value === 'Y' || value === '1' ? 'shared' : 'exclusive';
}

/** What there should be, for each device and for rdma_cm; none before the modules are loaded. */
function deviceNodes(machine: Machine): DeviceNode[] {
  const verbs = machine.list('/sys/class/infiniband_verbs').filter((name) => /^uverbs\d+$/.test(name));
  const names = machine.exists('/sys/class/misc/rdma_cm') ? [...verbs, 'rdma_cm'] : verbs;
  return names.map((name) => {
    const path = `/dev/infiniband/${name}`;
    return { path, error: machine.openError(path) };
  });
}

function lockedMemory(machine: Machine): LockedMemory {
  const limits = machine.read('/proc/self/limits') ?? '';
  const [, soft, hard] = /^Max locked memory\s+(\S+)\s+(\S+)/m.exec(limits) ?? [];
  const status = machine.read('/proc/self/status') ?? '';
  const [, capabilities = '0'] = /^CapEff:\s*([0-9a-f]{1,16})$/m.exec(status) ?? [];
  const capable = (BigInt(`0x${capabilities}`) & (1n << CAP_IPC_LOCK)) !== 0n;
  // The kernel asks for the capability on the host; one that a user namespace grants does not count.
  const ids = machine.read('/proc/self/uid_map');
  const onHost = ids === undefined || WHOLE_ID_RANGE.test(ids);
  return { soft: limitOf(soft), hard: limitOf(hard), unbound: capable && onHost };
}

function limitOf(text: string | undefined): number | undefined {
  if (text === 'unlimited') return Infinity;
  return text !== undefined && /^\d{1,20}$/.test(text) ? Number(text) : undefined;
}
