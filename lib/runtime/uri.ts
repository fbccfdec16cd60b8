// URIs of services: dos://AUTHORITY/NAME. The authority is where a runtime listens (HOST:PORT), or which network manager it has
// (NODEID.node) when peers reach it over connections that it opened, or empty: whoever reads it. Knows nothing of what is
// registered.
import { SplitplaneError } from '../errors.js';
import { isName, NAME_LENGTH_MAX } from './names.js';

/** What stands before the names of a runtime that no network reaches; to every dispatcher it means its own runtime. */
export const LOCAL_PREFIX = 'dos:///';
const NODE_AUTHORITY = /^([0-9a-f]{32})\.node$/;

export interface ServiceUri {
  /** '' for this runtime, whichever that is. */
  readonly authority: string;
  readonly name: string;
}

/** Throws INVALID_ARGUMENT for what no service can be called. */
export function checkServiceName(name: string): string {
  if (isName(name)) return name;
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    `${JSON.stringify(name)} is no name for a service. Use letters, digits, "- . _ ~", and "/" between parts; ${NAME_LENGTH_MAX} at most.`,
  );
}

/** The parts of a URI; undefined when it is none of a service. */
export function parseServiceUri(uri: string): ServiceUri | undefined {
  if (!uri.startsWith('dos://')) return undefined;
  const slash = uri.indexOf('/', 6);
  if (slash < 0) return undefined;
  const name = uri.slice(slash + 1);
  return isName(name) ? { authority: uri.slice(6, slash), name } : undefined;
}

/** What stands before the names of a runtime whose network manager has this id and listens nowhere. */
export function nodePrefix(nodeId: string): string {
  return `dos://${nodeId}.node/`;
}

/** The network manager that an authority names, if it does not name an address. */
export function nodeIdOf(authority: string): string | undefined {
  return NODE_AUTHORITY.exec(authority)?.[1];
}
