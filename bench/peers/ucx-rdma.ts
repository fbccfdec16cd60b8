/**
 * The peer `ucx` of the rdma suite: ucx_perftest on the hosts' devices. One-sided operations stand for `push`, `pull` and
 * `write_rtt`, tagged messages for `message_rtt`. UCX joins its reliable transport to an unreliable one, which sets up connections.
 */
import { requireTool, withTimeout } from '../children.js';
import { MIB, type Case, type Subject } from '../measurement.js';
import { clientHost, serverAddress, startToolOn, spawnOn } from '../rdma/hosts.js';
import { measureUcx, type UcxSite } from './ucx.js';

/**
 * UCX compares the address in a datagram's header with its own, and finds rxe's IPv4 ones in a form that it does not know: no
 * connection is ever made. The first GID is an IPv6 one, link-local, on every RoCE device.
 */
const TOOL =
  'env UCX_TLS=rc_verbs,ud_verbs UCX_IB_GID_INDEX=0 UCX_NET_DEVICES="${LAB_DEVICE:-all}${LAB_DEVICE:+:1}" ucx_perftest';
/** A port for each run: it accepts a single connection, and its socket lingers. */
const FIRST_PORT = 13_400;
let nextPort = FIRST_PORT;

/** Its output is buffered and it accepts a single connection, so neither reading nor knocking tells whether it listens. */
function listening(port: number): string {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  return `until cat /proc/net/tcp /proc/net/tcp6 | grep -q ':${hexPort} [^ ]* 0A '; do sleep 0.05; done`;
}

const site: UcxSite = {
  tests: {
    push: { name: 'ucp_put_bw' },
    pull: { name: 'ucp_get', outstanding: 4 },
    write_rtt: { name: 'ucp_put_lat' },
    message_rtt: { name: 'tag_lat' },
  },
  calibrationBytesMax: 4 * MIB,
  async serve(task, timeoutMs) {
    const port = nextPort++;
    const server = await startToolOn('a', `${TOOL} -p ${port}`);
    try {
      const waiting = await spawnOn('a', listening(port), { timeoutMs });
      await withTimeout(Promise.race([waiting.result, server.result]), timeoutMs, 'the ucx_perftest server');
    } catch (error) {
      await server.stop();
      throw error;
    }
    const connect = (args: readonly string[]) =>
      startToolOn(clientHost(task), `${TOOL} ${serverAddress(task)} -p ${port} ${args.join(' ')}`);
    return { server, connect };
  },
};

export const ucxRdmaSubject: Subject = {
  name: 'ucx',
  cases: [
    ...([2, 1] as const).flatMap((hosts): Case[] => [
      { metric: 'push', size: MIB, mode: 'busy', hosts },
      { metric: 'pull', size: MIB, mode: 'busy', hosts },
    ]),
    { metric: 'push', size: 16 * MIB, mode: 'busy', hosts: 2 },
    { metric: 'pull', size: 16 * MIB, mode: 'busy', hosts: 2 },
    { metric: 'write_rtt', size: 64, mode: 'busy', hosts: 2 },
    { metric: 'message_rtt', size: 64, mode: 'busy', hosts: 2 },
  ],
  prepare: () => requireTool('ucx_perftest', 'ucx-utils'),
  measure: (task, budget) => measureUcx(site, task, budget),
};
