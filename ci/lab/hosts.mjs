// Says what the laboratory's hosts are called and which addresses they have, and what a command that runs on one of
// them is told about that in its environment.

// Documentation ranges and a local prefix: none of them is ever routed.
const hosts = {
  a: { number: 1, mac: '52:54:00:00:00:0a', linkLocal: 'fe80::5054:ff:fe00:a' },
  b: { number: 2, mac: '52:54:00:00:00:0b', linkLocal: 'fe80::5054:ff:fe00:b' },
};

export const device = 'rxe0';
export const networkInterface = 'eth0';

const ipv4 = (name) => `192.0.2.${hosts[name].number}`;
const ipv6 = (name) => `fd5c:6a1e::${hosts[name].number}`;

export const macOf = (name) => hosts[name].mac;

/** The variables that every command on `name` sees; alone, a host is its own peer. */
export function environmentOf(name, { single, results }) {
  const other = name === 'a' ? 'b' : 'a';
  const peer = single ? name : other;
  return {
    LAB_HOST: name,
    LAB_SELF: ipv4(name),
    LAB_SELF6: ipv6(name),
    LAB_SELF_LINK: `${hosts[name].linkLocal}%${networkInterface}`,
    LAB_PEER: ipv4(peer),
    LAB_PEER6: ipv6(peer),
    LAB_PEER_LINK: `${hosts[peer].linkLocal}%${networkInterface}`,
    LAB_DEVICE: device,
    LAB_RESULTS: results,
  };
}
