// What every command does with its connection: tells what becomes of it, and says goodbye. Knows nothing of what is asked over it.
import { setTimeout as delay } from 'node:timers/promises';
import type { PassedOver } from '../dataplane/native.js';
import type { Connection } from '../network/connection.js';
import type { NetworkManager } from '../network/manager.js';
import { printableLine } from '../runtime/printable.js';
import { note } from './terminal.js';

/** How long the end of a connection may take. */
const GOODBYE_MS = 1000;

/** Tells of transports that were passed over, and of a link that is lost and comes back. */
export function tellOfConnection(manager: NetworkManager, connection: Connection): void {
  tellPassedOver(manager, connection.facts.passedOver);
  connection.on('interrupted', ({ code }) => {
    note(`The connection was lost (${code}); waiting for it to come back.`);
  });
  connection.on('resumed', ({ transport, previous, passedOver }) => {
    note(`The connection is back${transport === previous ? '' : `, over ${transport}`}.`);
    if (transport !== previous) tellPassedOver(manager, passedOver);
  });
}

/**
 * A transport that works on this host and not to that peer is worth a line; one that this host lacks is for `info`. That a peer
 * on this host listens over TCP alone is its own choice, and nothing that anybody would look into.
 */
function tellPassedOver({ transports }: NetworkManager, passedOver: readonly PassedOver[]): void {
  for (const { transport, code, reason } of passedOver) {
    if (transport === 'shm' && code === 'CONNECTION_REFUSED') continue;
    if (transports.some(({ name, available }) => name === transport && available)) {
      note(`Not over ${transport}: ${printableLine(reason)}`);
    }
  }
}

/** Lets the peer know, so that it need not find out; but does not wait long for one that does not hear it. */
export async function sayGoodbye(closing: Promise<void>): Promise<void> {
  const waited = new AbortController();
  const late = delay(GOODBYE_MS, undefined, { signal: waited.signal }).catch(() => undefined);
  await Promise.race([closing, late]);
  waited.abort();
}
