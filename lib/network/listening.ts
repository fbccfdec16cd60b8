// Listening over several transports at once: on one port, so that one address leads to all of them. What a transport cannot
// do here is told and leaves the others alone; that somebody else has the port does not, because a dialer could end up with
// him.
import type { Dataplane, DoorOptions } from '../dataplane/dataplane.js';
import type { PassedOver } from '../dataplane/native.js';
import { SplitplaneError } from '../errors.js';
import { formatAddress } from './address.js';

/** Where a manager listens. */
export interface ListeningAddress {
  /** As connect() takes it, with the port that was bound. Without a scheme, if it was given without one. */
  readonly address: string;
  /** The same for each transport by itself, best first: tcp://127.0.0.1:7350. */
  readonly addresses: readonly string[];
  /** Transports that were to listen too and cannot here, and why. */
  readonly passedOver: readonly PassedOver[];
  close(): void;
}

/** How often a free port is asked for, when what is free for one transport is taken for another. */
const PORT_PICKS_MAX = 16;

/** The transport that picks when any port will do: it shares its ports with the whole host. */
const PICKS_PORT = 'tcp';

/** What opens one listener. */
type Doors = Pick<Dataplane, 'transports' | 'listen' | 'listenerAddress' | 'closeListener'>;

type Opened = Omit<ListeningAddress, 'close'> & { readonly listeners: readonly number[] };

/**
 * Listens over each of `transports` that can. `scheme` is what the address was given with, or `auto`. Throws what listening
 * throws, and TRANSPORT_UNAVAILABLE when no transport is left.
 */
export function openListeners(
  dataplane: Doors,
  scheme: string,
  transports: readonly string[],
  literal: string,
  options: DoorOptions,
): Opened {
  const anyPort = literal.endsWith(':0');
  for (let pick = 1; ; pick++) {
    try {
      return openOnce(dataplane, scheme, transports, literal, options);
    } catch (error) {
      const taken = error instanceof SplitplaneError && error.code === 'ADDRESS_IN_USE';
      if (!taken || !anyPort || pick === PORT_PICKS_MAX) throw error;
    }
  }
}

function openOnce(
  dataplane: Doors,
  scheme: string,
  transports: readonly string[],
  literal: string,
  options: DoorOptions,
): Opened {
  const opened = new Map<string, number>();
  const unable = new Map<string, string>();
  for (const { name, available, reason = '' } of dataplane.transports)
    if (!available) unable.set(name, reason);
  let bound = literal;
  try {
    for (const transport of pickerFirst(transports.filter((name) => !unable.has(name)))) {
      try {
        const listener = dataplane.listen(transport, bound, options);
        opened.set(transport, listener);
        bound = dataplane.listenerAddress(listener);
      } catch (error) {
        if (!(error instanceof SplitplaneError) || error.code !== 'TRANSPORT_UNAVAILABLE') throw error;
        if (transports.length === 1) throw error;
        unable.set(transport, error.message);
      }
    }
  } catch (error) {
    for (const listener of opened.values()) dataplane.closeListener(listener);
    throw error;
  }
  const passedOver = transports.flatMap((transport): PassedOver[] => {
    const reason = unable.get(transport);
    return reason === undefined ? [] : [{ transport, code: 'TRANSPORT_UNAVAILABLE', reason }];
  });
  if (opened.size === 0) {
    const reasons = passedOver.map(({ transport, reason }) => `${transport}: ${reason}`).join('; ');
    throw new SplitplaneError('TRANSPORT_UNAVAILABLE', `No transport can listen at ${literal}. ${reasons}.`);
  }
  return {
    address: formatAddress(scheme, bound),
    addresses: [
      ...new Set(transports.filter((name) => opened.has(name)).map((name) => formatAddress(name, bound))),
    ],
    passedOver,
    listeners: [...opened.values()],
  };
}

function pickerFirst(transports: readonly string[]): readonly string[] {
  if (!transports.includes(PICKS_PORT)) return transports;
  return [PICKS_PORT, ...transports.filter((name) => name !== PICKS_PORT)];
}
