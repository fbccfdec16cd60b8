/**
 * Many connections of one process with another, of which one is in use at most: what each costs while it is idle, and what all of them
 * take from the one. It must not know what is sent on that one.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Connection, NetworkManager } from '../../lib/index.js';
import type { Case } from '../measurement.js';

/** From one to as many as a manager takes where it is not told otherwise. */
export const CONNECTION_COUNTS = [1, 10, 100, 1000, 10_000] as const;
export const CONNECTIONS_MAX = 10_000;

/** A control and a data socket. */
const DESCRIPTORS_EACH = 2;
/** Of Node.js itself, and what a process needs to load its code. */
const DESCRIPTORS_SPARE = 64;
/** Connecting side by side: fewer than a listener lets wait before they have joined. */
const CONNECTING = 16 * availableParallelism();
/**
 * Addresses of this host to connect to. The kernel looks for a free port of our side one by one once half of them are taken, per address
 * of the other side.
 */
const HOSTS = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'] as const;

/**
 * How many of the connections a process can have: Node.js raises its limit of open files to the hard one by itself, and what lies
 * beyond that is the administrator's to allow.
 */
export function connectionsPossible(wanted: number): number {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const hard = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
  return Math.min(wanted, Math.floor((hard - DESCRIPTORS_SPARE) / DESCRIPTORS_EACH));
}

/** Listens at each of the hosts; one address, for connectMany(). */
export async function listenForMany(manager: NetworkManager, transport: string): Promise<string> {
  const listening = await Promise.all(HOSTS.map((host) => manager.listen(`${transport}://${host}:0`)));
  return listening.map(({ address }) => address).join(' ');
}

/** As many as the case names; one of them is for use. */
export async function connectMany(manager: NetworkManager, address: string, task: Case): Promise<Connection> {
  const { count = 1 } = task;
  const possible = connectionsPossible(count);
  if (possible < count) {
    console.warn(`${possible} connections stand for ${count}: the hard limit of open files is too low here.`);
  }
  const addresses = address.split(' ');
  const connect = (index: number): Promise<Connection> =>
    manager.connect(addresses[index % addresses.length] ?? address);
  const first = await connect(0);
  let next = 1;
  const connecting = Array.from({ length: CONNECTING }, async () => {
    while (next < possible) await connect(next++);
  });
  await Promise.all(connecting);
  return first;
}
