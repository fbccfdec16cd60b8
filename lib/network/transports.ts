// Which transports an address may be reached over. Knows their names and whether they work here, and nothing of how.
import { SplitplaneError } from '../errors.js';
import type { TransportFacts } from '../dataplane/native.js';
import { isOfThisHost, type Address } from './address.js';

/** The names, if they are those of different transports out of `known`. Throws INVALID_ARGUMENT. */
export function checkTransports(names: readonly string[], known: readonly string[]): readonly string[] {
  const otherwise = (problem: string): never => {
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      `transports ${problem}. Name some of ${known.join(', ')}, most preferred first.`,
    );
  };
  if (names.length === 0) otherwise('is empty, so that nobody could be reached');
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) otherwise(`names ${JSON.stringify(unknown)}, which this build does not have`);
  if (new Set(names).size < names.length) otherwise('names one twice');
  return names;
}

/**
 * The transports to try for an address, best first: the one it names, or all that are allowed, among them those that do not
 * work here and will be passed over. Throws TRANSPORT_UNAVAILABLE, which says why, when none is left.
 */
export function transportsFor(
  address: Address,
  literal: string,
  allowed: readonly string[],
  known: readonly TransportFacts[],
): readonly string[] {
  const wanted =
    address.transport === 'auto'
      ? allowed.filter((name) => leadsThere(name, literal) || allowed.length === 1)
      : [address.transport];
  const obstacles = wanted.map((name) => obstacle(name, allowed, known));
  if (obstacles.includes(undefined)) return wanted;
  const [first = ''] = wanted;
  const reasons = wanted.map((name, index) => `${name}: ${obstacles[index] ?? ''}`).join('; ');
  throw new SplitplaneError(
    'TRANSPORT_UNAVAILABLE',
    wanted.length === 1
      ? `The transport ${first} cannot be used: ${obstacles[0] ?? ''}.`
      : `No transport can be used here. ${reasons}.`,
  );
}

/** Whether an address is of a kind that a transport could reach at all: there is no word to be lost about one that could not. */
function leadsThere(name: string, literal: string): boolean {
  if (literal.startsWith('unix:')) return name !== 'rdma';
  return name !== 'shm' || isOfThisHost(literal);
}

/** Why a transport cannot be used; undefined: it can. */
function obstacle(
  name: string,
  allowed: readonly string[],
  known: readonly TransportFacts[],
): string | undefined {
  const facts = known.find((transport) => transport.name === name);
  if (facts === undefined) return `this build has ${known.map((transport) => transport.name).join(', ')}`;
  if (!allowed.includes(name)) return `the option transports allows ${allowed.join(', ')} only`;
  return facts.available ? undefined : (facts.reason ?? 'this build does not say why');
}
