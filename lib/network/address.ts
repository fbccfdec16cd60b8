// Addresses as people write them, and what the transports need of them: a literal address and whether it stays on this
// host. Resolves host names. Knows the names of transports, not their ways.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { SplitplaneError } from '../errors.js';

/** The port that is meant when an address names none. */
export const DEFAULT_PORT = 7350;

/** Where to listen or connect. */
export interface Address {
  /** `tcp`, or another that `info` lists; `auto` leaves the choice to the manager, which is all that a unix socket can do. */
  readonly transport: string;
  /** A host name or literal address, without brackets; undefined for a unix socket. */
  readonly host: string | undefined;
  readonly port: number;
  /** The path of a unix socket. */
  readonly path: string | undefined;
}

const FORMS =
  'HOST:PORT, [IPV6]:PORT, shm://HOST:PORT, rdma://HOST:PORT, tcp://HOST:PORT, dos://HOST:PORT/NAME or unix:/PATH';
/** The longest path that sockaddr_un holds. */
const UNIX_PATH_BYTES_MAX = 107;

/** Reads an address. Throws ADDRESS_INVALID, whose message shows the forms. */
export function parseAddress(text: string): Address {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    const bytes = Buffer.byteLength(path);
    if (bytes === 0 || bytes > UNIX_PATH_BYTES_MAX || path.includes('\0')) throw invalid(text);
    return { transport: 'auto', host: undefined, port: 0, path };
  }
  const match =
    /^(?:([a-z]+):\/\/)?(?:\[([0-9A-Fa-f:.]+(?:%[^\]/]+)?)\]|([^:/[\]\s]+))(?::(\d{1,5}))?(?:\/.*)?$/.exec(
      text,
    );
  const host = match?.[2] ?? match?.[3];
  const port = match?.[4] === undefined ? DEFAULT_PORT : Number(match[4]);
  if (host === undefined || port > 65_535) throw invalid(text);
  const scheme = match?.[1] ?? 'auto';
  return { transport: scheme === 'dos' ? 'auto' : scheme, host, port, path: undefined };
}

/** The address with its host name looked up, in the form the transports take. */
export async function literalAddress(address: Address): Promise<string> {
  if (address.path !== undefined) return `unix:${address.path}`;
  const { host = '', port } = address;
  let ip = host;
  const [bare = ''] = host.split('%');
  if (isIP(bare) === 0) {
    try {
      ip = (await lookup(host, { verbatim: true })).address;
    } catch (cause) {
      throw new SplitplaneError('ADDRESS_INVALID', `The host name ${host} cannot be resolved. Check it.`, {
        cause,
      });
    }
  }
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Whether a literal address reaches no further than this host. */
export function isLocal(literal: string): boolean {
  if (literal.startsWith('unix:')) return true;
  return /^127\.|^\[::1\]:|^\[::ffff:127\./i.test(literal);
}

/** Whether a literal address is one of this host's: a process that listens there is on it. */
export function isOfThisHost(literal: string): boolean {
  if (isLocal(literal) || /^(0\.0\.0\.0|\[::\]):/.test(literal)) return true;
  const [host = ''] = literal.slice(0, literal.lastIndexOf(':')).replace(/[[\]]/g, '').split('%');
  return Object.values(networkInterfaces()).some((ways) => ways?.some(({ address }) => address === host));
}

/** The form that people write and connect() takes; `auto` leaves the choice of the transport open. */
export function formatAddress(transport: string, literal: string): string {
  return literal.startsWith('unix:') || transport === 'auto' ? literal : `${transport}://${literal}`;
}

function invalid(text: string): SplitplaneError {
  return new SplitplaneError('ADDRESS_INVALID', `${JSON.stringify(text)} is no address. Write ${FORMS}.`);
}
