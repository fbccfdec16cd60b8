// RDMA devices and network devices as sysfs shows them: ports with their states and GIDs, and what carries them. Facts only.
// The layout is that of Documentation/ABI/stable/sysfs-class-infiniband in the kernel's sources.
import { isIPv4 } from 'node:net';
import type { DeviceAddress, Machine } from './machine.js';

const DEVICES_MAX = 64;
const PORTS_MAX = 16;
/** Entries read of a port's table. */
const GIDS_MAX = 1024;
const NET_DEVICES_MAX = 1024;
/** IFF_UP, IFF_LOOPBACK of netdevice(7). */
const FLAG_UP = 1;
const FLAG_LOOPBACK = 8;

/** Headers that an RDMA packet adds to its payload, as the kernel counts them: rxe by itself, the others together. */
const HEADER_BYTES_RXE = 80;
const HEADER_BYTES = 96;
const RDMA_MTUS = [4096, 2048, 1024, 512, 256];

export interface Gid {
  readonly index: number;
  /** Eight groups of four hex digits. */
  readonly gid: string;
  readonly version: 'v1' | 'v2' | 'other';
  readonly netDevice: string | undefined;
}

export interface Port {
  readonly number: number;
  /** ACTIVE, DOWN, INIT. */
  readonly state: string;
  /** LinkUp, Disabled, Polling. */
  readonly physicalState: string;
  /** Ethernet or InfiniBand. */
  readonly linkLayer: string;
  readonly gids: readonly Gid[];
  /** The network device below, if there is one to see. */
  readonly netDevice: string | undefined;
}

export interface RdmaDevice {
  readonly name: string;
  /** The kernel's driver: rxe, mlx5_core. */
  readonly driver: string | undefined;
  /** Speaks iWARP instead of InfiniBand or RoCE. */
  readonly iwarp: boolean;
  readonly ports: readonly Port[];
}

export interface NetDevice {
  readonly name: string;
  readonly loopback: boolean;
  /** Ethernet proper, on which soft-RoCE can be. */
  readonly ethernet: boolean;
  readonly up: boolean;
  readonly carrier: boolean;
  readonly mtu: number;
  readonly addresses: readonly DeviceAddress[];
}

export function gatherDevices(machine: Machine): RdmaDevice[] {
  return machine
    .list('/sys/class/infiniband')
    .slice(0, DEVICES_MAX)
    .map((name) => {
      const place = `/sys/class/infiniband/${name}`;
      const numbers = machine.list(`${place}/ports`).filter((number) => /^\d{1,3}$/.test(number));
      return {
        name,
        driver: driverOf(machine, place),
        iwarp: (machine.read(`${place}/node_type`) ?? '').includes('RNIC'),
        ports: numbers.slice(0, PORTS_MAX).map((number) => gatherPort(machine, place, Number(number))),
      };
    });
}

/** A device without hardware has no driver to point at: rxe names what it is on, siw says what it is. */
function driverOf(machine: Machine, place: string): string | undefined {
  const driver = machine.link(`${place}/device/driver`);
  if (driver !== undefined) return driver;
  const description = machine.read(`${place}/node_desc`) ?? '';
  if (/^siw\b|software iwarp/i.test(description)) return 'siw';
  return machine.exists(`${place}/parent`) || description.startsWith('rxe') ? 'rxe' : undefined;
}

function gatherPort(machine: Machine, devicePlace: string, number: number): Port {
  const place = `${devicePlace}/ports/${number}`;
  const gids = machine
    .list(`${place}/gids`)
    .slice(0, GIDS_MAX)
    .flatMap((index) => gatherGid(machine, place, index));
  return {
    number,
    state: nameOf(machine.read(`${place}/state`)),
    physicalState: nameOf(machine.read(`${place}/phys_state`)),
    linkLayer: machine.read(`${place}/link_layer`) ?? 'unknown',
    gids,
    netDevice:
      gids.find(({ netDevice }) => netDevice !== undefined)?.netDevice ??
      netDeviceOf(machine, devicePlace, number),
  };
}

/** `4: ACTIVE` is how sysfs writes ACTIVE. */
function nameOf(text: string | undefined): string {
  return text?.replace(/^\d+:\s*/, '') ?? 'unknown';
}

function gatherGid(machine: Machine, place: string, index: string): Gid[] {
  const gid = machine.read(`${place}/gids/${index}`) ?? '';
  if (!/^[0-9a-f]{4}(?::[0-9a-f]{4}){7}$/.test(gid) || /^[0:]*$/.test(gid)) return [];
  const type = machine.read(`${place}/gid_attrs/types/${index}`) ?? '';
  const version = /v2/i.test(type) ? 'v2' : /v1/i.test(type) ? 'v1' : 'other';
  return [
    { index: Number(index), gid, version, netDevice: machine.read(`${place}/gid_attrs/ndevs/${index}`) },
  ];
}

/** Without a GID that names it: what rxe says it is on, or the network device of the same card and port. */
function netDeviceOf(machine: Machine, devicePlace: string, port: number): string | undefined {
  const parent = machine.read(`${devicePlace}/parent`);
  if (parent !== undefined && parent !== '') return parent;
  const names = machine.list(`${devicePlace}/device/net`);
  if (names.length === 1) return names[0];
  return names.find(
    (name) => machine.read(`${devicePlace}/device/net/${name}/dev_port`) === String(port - 1),
  );
}

export function gatherNetDevices(machine: Machine): NetDevice[] {
  const addresses = machine.addresses();
  return machine
    .list('/sys/class/net')
    .slice(0, NET_DEVICES_MAX)
    .map((name) => {
      const place = `/sys/class/net/${name}`;
      const flags = Number(machine.read(`${place}/flags`) ?? '0');
      // A device that is down does not answer whether it has a carrier.
      const carrier = machine.read(`${place}/carrier`) === '1';
      return {
        name,
        loopback: (flags & FLAG_LOOPBACK) !== 0,
        // ARPHRD_ETHER of <net/if_arp.h>.
        ethernet: machine.read(`${place}/type`) === '1',
        up: (flags & FLAG_UP) !== 0,
        carrier,
        mtu: Number(machine.read(`${place}/mtu`) ?? '0'),
        addresses: addresses.filter(({ device }) => device === name),
      };
    });
}

/** The GID that a port has for an address of its network device; undefined for what is no address. */
export function gidOf(address: string): string | undefined {
  if (isIPv4(address)) {
    const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
    const hex = [(a << 8) | b, (c << 8) | d].map((group) => group.toString(16).padStart(4, '0'));
    return `0000:0000:0000:0000:0000:ffff:${hex.join(':')}`;
  }
  const [bare = ''] = address.split('%');
  const [head = '', tail] = bare.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = tail === undefined ? 0 : 8 - before.length - after.length;
  if (missing < 0) return undefined;
  const groups = [...before, ...Array<string>(missing).fill('0'), ...after];
  if (groups.length !== 8 || !groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return groups.map((group) => group.toLowerCase().padStart(4, '0')).join(':');
}

/** The largest RDMA payload that fits a network device's MTU, as the kernel chooses it; undefined when none does. */
export function rdmaMtuOf(netMtu: number, driver: string | undefined): number | undefined {
  const room = netMtu - (driver === 'rxe' ? HEADER_BYTES_RXE : HEADER_BYTES);
  return RDMA_MTUS.find((mtu) => mtu <= room);
}
