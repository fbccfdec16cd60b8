// Trusted peers over RDMA, through the JavaScript API: who declares his peer trusted registers no memory per transfer, and
// nobody else does so for him.
import { beforeAll, expect, test } from 'vitest';
import type { Hosts } from '../../ci/lab/lab.mjs';
import { program } from '../support/processes.js';
import { laboratory, succeeded } from './laboratory.js';

const TIMES = 5;
/** One registration each, where there is one per transfer. */
const BYTES = 1 << 20;
/** Reads and writes. */
const PER_TRANSFER = 2 * TIMES;

let lab: Hosts;

beforeAll(async () => {
  lab = await laboratory();
});

test.each([
  ['nobody', {}, {}, PER_TRANSFER, PER_TRANSFER],
  ['the listener', { trustedPeers: true }, {}, 0, PER_TRANSFER],
  ['the dialer', {}, { trustedPeer: true }, PER_TRANSFER, 0],
  ['everybody', { trustedPeers: true }, { trustedPeer: true }, 0, 0],
])('%s trusts: who does registers nothing per transfer', async (_, listen, connect, listener, dialer) => {
  const argument = { address: 'rdma://$LAB_SELF:0', listen, connect, times: TIMES, bytes: BYTES };
  const json = JSON.stringify(argument).replaceAll('"', String.raw`\"`);
  const command = `${process.execPath} ${program('trust')} "${json}"`;
  const printed = succeeded(await lab.run('a', command), command);
  expect(JSON.parse(printed)).toEqual({ transport: 'rdma', listener, dialer });
});
