// Judges the devices of a machine and what carries them: ports, network devices, GIDs, MTU, subnets, namespaces, the packet filter.
// From facts alone; where nothing can be judged for want of a device, one finding says so.
import { isIPv4 } from 'node:net';
import { gidOf, rdmaMtuOf, type NetDevice, type Port, type RdmaDevice } from './devices.js';
import type { Facts } from './facts.js';
import { counted, ok, problem, skipped, warning, type Finding } from './finding.js';
import { ROCE_PORT } from './firewall/rules.js';

/** The network MTU that holds RDMA's largest payload with every header. */
export const NET_MTU_FOR_4096 = 4200;
const RDMA_MTU_MAX = 4096;

/** A port with what it belongs to. */
export interface PortInPlace {
  readonly name: string;
  readonly device: RdmaDevice;
  readonly port: Port;
  /** Its network device, if it can be seen. */
  readonly net: NetDevice | undefined;
}

export function checkDevices(facts: Facts): Finding[] {
  const ports = portsOf(facts);
  if (ports.length === 0) {
    const ids = ['port', 'net-device', 'gids', 'mtu', 'firewall'];
    return [checkPresence(facts), ...ids.map((id) => skipped(id, 'needs a device'))];
  }
  return [
    checkPresence(facts),
    ...ports.flatMap((place) => checkPort(place, facts)),
    ...checkSubnets(ports),
    ...checkFirewall(facts),
  ];
}

/** Every port, with the network device it is on. */
export function portsOf({ devices, netDevices }: Facts): PortInPlace[] {
  return devices.flatMap((device) =>
    device.ports.map((port) => ({
      name: `${device.name}/${port.number}`,
      device,
      port,
      net: netDevices.find(({ name }) => name === port.netDevice),
    })),
  );
}

function checkPresence(facts: Facts): Finding {
  const { devices, modulesLoaded, namespaces, container, kernelCrc32 } = facts;
  if (devices.length > 0) {
    const names = devices.map(({ name, driver }) => (driver === undefined ? name : `${name} (${driver})`));
    return ok('devices', names.join(', '));
  }
  if (namespaces === 'exclusive') {
    return problem('devices', 'none in this network namespace, and devices are not shared among namespaces', {
      advice: 'Move the device into this namespace, or share devices (before there are other namespaces).',
      commands: ['rdma dev set DEVICE netns NAMESPACE', 'rdma system set netns shared'],
    });
  }
  if (!modulesLoaded.has('rdma_rxe')) {
    return problem('devices', 'none', {
      advice:
        'Load the driver of the card (see modules). Whether there is one at all: lspci | grep -iE "ethernet|infiniband|mellanox". ' +
        'Without a card, soft-RoCE makes a device of any Ethernet card.',
    });
  }
  const on = facts.netDevices.find(({ loopback, ethernet, up }) => !loopback && ethernet && up)?.name;
  const commands = [`rdma link add rxe0 type rxe netdev ${on ?? 'NETDEV'}`];
  // Without it the kernel answers "No such file or directory", which leads nowhere.
  if (!kernelCrc32) commands.unshift('modprobe crc32_generic');
  const inside = container === undefined ? '' : ' On the host of the container.';
  return problem('devices', 'none, although soft-RoCE (rdma_rxe) is loaded', {
    advice: `Make one of an Ethernet card; it is gone with the next start.${inside}`,
    commands,
  });
}

function checkPort(place: PortInPlace, facts: Facts): Finding[] {
  const { name: subject, device, port, net } = place;
  const found = [checkState(place)];
  if (port.linkLayer !== 'Ethernet') {
    const why = `${port.linkLayer}, not Ethernet: rdma_cm needs an IP address on it (IPoIB)`;
    return [...found, ...['net-device', 'gids', 'mtu'].map((id) => skipped(id, why, { subject }))];
  }
  if (net === undefined) {
    found.push(checkHidden(place, facts));
    return [...found, ...['gids', 'mtu'].map((id) => skipped(id, 'needs its network device', { subject }))];
  }
  found.push(checkNetDevice(place, net));
  found.push(
    device.iwarp ? skipped('gids', 'iWARP has no RoCE GIDs', { subject }) : checkGids(place, net),
    checkMtu(place, net),
  );
  return found;
}

function checkState({ name: subject, device, port, net }: PortInPlace): Finding {
  const seen = `${port.state}, ${port.physicalState}, ${port.linkLayer}`;
  if (port.state === 'ACTIVE') return ok('port', seen, { subject });
  if (port.linkLayer === 'InfiniBand') {
    return problem('port', seen, {
      subject,
      advice:
        'An InfiniBand port becomes active by a subnet manager: start one on the switch or on one host, and check the cable.',
      commands: ['systemctl start opensm'],
    });
  }
  if (net?.up === false) {
    return problem('port', `${seen}: its network device ${net.name} is down`, {
      subject,
      advice: 'Bring the network device up; the port follows.',
      commands: [`ip link set ${net.name} up`],
    });
  }
  return problem('port', seen, {
    subject,
    advice: 'Check cable, transceiver and switch port; the network device shows why there is no link.',
    commands: [net === undefined ? `rdma link show ${device.name}` : `ethtool ${net.name}`],
  });
}

function checkHidden({ name: subject, port, device }: PortInPlace, { namespaces }: Facts): Finding {
  const which = port.netDevice ?? 'its network device';
  const mode = namespaces === 'exclusive' ? 'exclusive' : 'shared';
  return problem('net-device', `${which} is not in this network namespace (RDMA devices: ${mode})`, {
    subject,
    advice:
      'The device is seen here and its addresses are not. Move its network device here, or run where it is.',
    commands: [`ip link set ${port.netDevice ?? 'NETDEV'} netns NAMESPACE`, `rdma link show ${device.name}`],
  });
}

function checkNetDevice({ name: subject }: PortInPlace, net: NetDevice): Finding {
  const { name, up, carrier, addresses } = net;
  if (!up) {
    return problem('net-device', `${name} is down`, {
      subject,
      advice: 'Bring it up.',
      commands: [`ip link set ${name} up`],
    });
  }
  if (!carrier) {
    return problem('net-device', `${name} is up and has no carrier`, {
      subject,
      advice: 'Check cable, transceiver and switch port.',
      commands: [`ethtool ${name}`],
    });
  }
  if (addresses.length === 0) {
    return problem('net-device', `${name} has no address, and rdma_cm finds ports by address`, {
      subject,
      advice: 'Give it one, in a subnet of its own.',
      commands: [addressing(name)],
    });
  }
  return ok('net-device', `${name} is up: ${addresses.map(written).join(', ')}`, { subject });
}

function written({ address, prefixLength }: NetDevice['addresses'][number]): string {
  return `${address}/${prefixLength}`;
}

/** RoCE finds the sender's GID by its address: each address has to have one of version 2. */
function checkGids({ name: subject, device, port }: PortInPlace, net: NetDevice): Finding {
  const second = port.gids.filter(({ version }) => version === 'v2');
  if (second.length === 0 && port.gids.some(({ version }) => version === 'v1')) {
    const old = device.driver === 'mlx4_core';
    return problem(
      'gids',
      `${counted(port.gids.length, 'GID')}, all of RoCE v1, which routers and rdma_cm's default do not take`,
      {
        subject,
        advice: old
          ? 'Have the driver offer version 2, then start again.'
          : 'Switch RoCE v2 on in the firmware or driver of the card; a card that cannot is of no use here.',
        commands: old ? ['echo "options mlx4_core roce_mode=2" > /etc/modprobe.d/mlx4-roce.conf'] : [],
      },
    );
  }
  if (second.length === 0) {
    return problem('gids', 'none: nothing can be sent', {
      subject,
      advice: `GIDs come with the addresses of ${net.name}. Give it one, or have them made anew.`,
      commands: net.addresses.length > 0 ? renewing(net.addresses) : [addressing(net.name)],
    });
  }
  const missing = net.addresses.filter(({ address }) => {
    const gid = gidOf(address);
    return gid !== undefined && !second.some((known) => known.gid === gid && known.netDevice === net.name);
  });
  if (missing.length > 0) {
    const which = missing.map(({ address }) => address).join(', ');
    return warning('gids', `no RoCE v2 GID for ${which}: RDMA cannot be used to or from there`, {
      subject,
      advice:
        'Have them made anew. If they are missing still, the table of the card may be full of other addresses.',
      commands: renewing(missing),
    });
  }
  const four = net.addresses.filter(({ address }) => isIPv4(address)).length;
  const six = net.addresses.length - four;
  const seen = `${counted(second.length, 'GID')} of RoCE v2, for every address (IPv4: ${four}, IPv6: ${six})`;
  return ok('gids', seen, { subject });
}

/** In one line: in between, whoever is connected by that address would be cut off. */
function renewing(addresses: NetDevice['addresses']): string[] {
  return addresses.map((address) => {
    const what = `${written(address)} dev ${address.device}`;
    return `ip address del ${what} && ip address add ${what}`;
  });
}

function addressing(netDevice: string): string {
  return `ip address add 192.168.100.1/24 dev ${netDevice}`;
}

function checkMtu({ name: subject, device }: PortInPlace, { name, mtu }: NetDevice): Finding {
  const rdma = rdmaMtuOf(mtu, device.driver);
  if (rdma === undefined) {
    return problem('mtu', `${name} has ${mtu}, in which no RDMA packet fits`, {
      subject,
      advice: 'Raise it, on every host and switch of the network.',
      commands: [`ip link set ${name} mtu 1500`],
    });
  }
  const seen = `${name} has ${mtu}, so RDMA packets carry ${rdma} bytes`;
  if (rdma >= RDMA_MTU_MAX) return ok('mtu', seen, { subject });
  return warning('mtu', `${seen}, of at most ${RDMA_MTU_MAX}`, {
    subject,
    advice: `It works and is slower. ${NET_MTU_FOR_4096} or more is needed, the same on every host, and allowed by every switch.`,
    commands: [`ip link set ${name} mtu ${NET_MTU_FOR_4096}`],
  });
}

/** Two ports in one subnet: the system answers for either address on both, and sends by one. */
function checkSubnets(ports: readonly PortInPlace[]): Finding[] {
  const nets = new Map(ports.flatMap(({ net }) => (net === undefined ? [] : [[net.name, net] as const])));
  const places = [...nets.values()].flatMap(({ name, addresses }) =>
    addresses.filter(({ address }) => !/^fe80:/i.test(address)).map((address) => ({ name, address })),
  );
  const found: Finding[] = [];
  places.forEach((one, index) => {
    const other = places
      .slice(index + 1)
      .find(({ name, address }) => name !== one.name && sameSubnet(one.address, address));
    if (other === undefined) return;
    const subject = `${one.name}, ${other.name}`;
    found.push(
      warning(
        'subnets',
        `${written(one.address)} and ${written(other.address)} are one subnet: all goes out by one of them`,
        {
          subject,
          advice:
            'Give each port a subnet of its own. Otherwise keep ARP apart, and add a routing rule for each address.',
          commands: ['sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2'],
        },
      ),
    );
  });
  if (found.length > 0 || nets.size < 2) return found;
  return [ok('subnets', `${nets.size} network devices, each in a subnet of its own`)];
}

type Address = NetDevice['addresses'][number];

function sameSubnet(one: Address, other: Address): boolean {
  if (isIPv4(one.address) !== isIPv4(other.address)) return false;
  const shift = isIPv4(one.address) ? 96 : 0;
  const length = shift + Math.min(one.prefixLength, other.prefixLength);
  const bits = bitsOf(one.address)?.slice(0, length);
  return bits !== undefined && bits === bitsOf(other.address)?.slice(0, length);
}

function bitsOf(address: string): string | undefined {
  const groups = gidOf(address)?.split(':');
  return groups?.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0')).join('');
}

function checkFirewall({ firewall }: Facts): Finding[] {
  const id = 'firewall';
  const { state, blocks } = firewall;
  if (state === 'not asked') {
    return [
      skipped(
        id,
        `a card passes the kernel's filter by; filters on the way have to let UDP ${ROCE_PORT} through`,
      ),
    ];
  }
  if (state === 'unreadable') {
    return [
      skipped(
        id,
        `this user may not read the packet filter, or there is none: run doctor as root to know about UDP ${ROCE_PORT}`,
      ),
    ];
  }
  if (blocks.length === 0) return [ok(id, `lets UDP ${ROCE_PORT} through`)];
  return blocks.map(({ direction, certain, place, command }) => {
    const way = direction === 'in' ? 'from other hosts' : 'to other hosts';
    const advice = `RoCE v2 is UDP to port ${ROCE_PORT}. Let it through, and store the rule where this host keeps its rules.`;
    const remedy = { subject: place, advice, commands: [command] };
    if (certain) return problem(id, `drops UDP ${ROCE_PORT} ${way}`, remedy);
    return warning(
      id,
      `may drop UDP ${ROCE_PORT} ${way}; its rules depend on more than doctor can tell`,
      remedy,
    );
  });
}
