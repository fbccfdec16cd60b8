// What everything else in the laboratory stands on: two hosts with an RDMA device each, joined by a link that carries RDMA
// over IPv4 and IPv6, and that can be taken away and given back.
import { beforeAll, describe, expect, test } from 'vitest';
import type { HostName, Hosts } from '../../ci/lab/lab.mjs';
import { laboratory, output, succeeded } from './laboratory.js';

let lab: Hosts;
let client: HostName;

beforeAll(async () => {
  lab = await laboratory();
  client = lab.hosts.at(-1) ?? 'a';
});

/** Runs a server on host a and, once it says that it listens, its client on the other host; gives back both outputs. */
async function pair(server: string, listening: RegExp, command: string): Promise<[string, string]> {
  const job = lab.spawn('a', server);
  try {
    await job.until(listening);
    const said = succeeded(await lab.run(client, command), command);
    return [succeeded(await job.result, server), said];
  } finally {
    job.signal('SIGKILL');
  }
}

describe('devices', () => {
  test('every host has an active device that takes 4096 bytes at a time', async ({ skip }) => {
    if (!lab.virtual) skip('a real device has the MTU of its network');
    for (const host of lab.hosts) {
      const text = await output(host, 'ibv_devinfo -d $LAB_DEVICE');
      expect(text).toMatch(/state:\s+PORT_ACTIVE/);
      expect(text).toMatch(/active_mtu:\s+4096/);
    }
  });

  test('RoCE v2 GIDs stand for the IPv4, the global and the link-local IPv6 address', async ({ skip }) => {
    if (!lab.virtual) skip('a real host has the addresses of its network');
    for (const host of lab.hosts) {
      const gids = await output(host, 'ibv_devinfo -v -d $LAB_DEVICE | grep GID');
      const own = (await output(host, 'echo $LAB_SELF $LAB_SELF6 ${LAB_SELF_LINK%\\%*}')).trim().split(' ');
      expect(own).toHaveLength(3);
      for (const address of own) expect(gids).toMatch(new RegExp(`[\\s:]${address}, RoCE v2$`, 'm'));
    }
  });
});

describe('clocks', () => {
  test('run as fast as the one outside', async () => {
    const seconds = async () => {
      const before = performance.now() / 1000;
      const inside = Number((await output('a', 'cut -d " " -f 1 /proc/uptime')).trim());
      return { before, inside, after: performance.now() / 1000 };
    };
    const first = await seconds();
    await output('a', 'sleep 5');
    const last = await seconds();
    // Each reading was taken somewhere between its before and its after.
    expect(last.inside - first.inside).toBeGreaterThan(0.9 * (last.before - first.after));
    expect(last.inside - first.inside).toBeLessThan(1.1 * (last.after - first.before));
  });
});

describe('between the hosts', () => {
  test.each(['LAB_PEER', 'LAB_PEER6', 'LAB_PEER_LINK'])('rping carries its bytes to %s', async (name) => {
    const address = (await output(client, `echo $${name}`)).trim();
    if (address === '') return;
    // The server says nothing before somebody has come, so what is waited for is that its port is taken.
    const waitForPort = `until rdma resource show cm_id | grep -q 'state LISTEN'; do sleep 0.1; done; echo up`;
    const any = name === 'LAB_PEER' ? '0.0.0.0' : '::';
    const [, said] = await pair(
      `rping -s -a ${any} -C 3 -V & ${waitForPort}; wait $!`,
      /up/,
      `rping -c -a ${address} -C 3 -V -v`,
    );
    expect(said.match(/ping data: /g)).toHaveLength(3);
  });

  test('perftest writes and reads', async () => {
    for (const tool of ['ib_write_bw', 'ib_read_bw']) {
      const arguments_ = '-R -s 65536 -n 20 ${LAB_DEVICE:+-d $LAB_DEVICE}';
      const [, said] = await pair(
        `stdbuf -oL ${tool} ${arguments_}`,
        /Waiting for client/,
        `${tool} ${arguments_} $LAB_PEER`,
      );
      expect(said).toMatch(/^\s*65536\s+20\s/m);
    }
  });
});

describe('changes while commands run', () => {
  test('a link that goes down takes the port with it, and brings it back', async ({ skip }) => {
    if (!lab.virtual) skip('only the links of the laboratory may be cut');
    const state = 'cat /sys/class/infiniband/$LAB_DEVICE/ports/1/state';
    const waitFor = (word: string) => `until ${state} | grep ${word}; do sleep 0.1; done`;
    const watching = lab.spawn('a', `${waitFor('DOWN')}; ${waitFor('ACTIVE')}`);
    await output('a', 'ip link set eth0 down');
    await watching.until(/DOWN/);
    await output('a', 'ip link set eth0 up');
    expect((await watching.result).stdout).toMatch(/DOWN\n.*ACTIVE\n$/);
    // Global IPv6 addresses do not survive the link.
    await output('a', 'ip -6 address replace $LAB_SELF6/64 dev eth0 nodad');
  });

  test('a device can be deleted and added again', async ({ skip }) => {
    if (!lab.virtual) skip('only the devices of the laboratory may be taken away');
    await output('a', 'rdma link delete $LAB_DEVICE');
    expect(await output('a', 'ibv_devices | tail -n +3')).toBe('');
    await output('a', 'rdma link add $LAB_DEVICE type rxe netdev eth0');
    expect(await output('a', 'ibv_devinfo -d $LAB_DEVICE')).toMatch(/PORT_ACTIVE/);
  });
});
