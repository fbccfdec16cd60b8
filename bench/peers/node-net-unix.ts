/**
 * The peer `node:net` over unix sockets: the same program as over TCP.
 */
import { pairSubject } from '../pair.js';
import { netTraffic, NODE_NET, NODE_NET_CASES } from './node-net.js';

export const nodeNetUnixSubject = pairSubject({
  ...NODE_NET,
  module: import.meta.url,
  transport: 'unix',
  cases: NODE_NET_CASES,
});

export const traffic = netTraffic('unix');
