// Which requests the monitor answers at all: those that only read, and that come from the page itself or from a program, not
// from another web page in the same browser. Such a page could otherwise read the monitor by pointing a name of its own at
// this host (DNS rebinding), or take up its places by opening streams.
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/** Why a request is refused. */
export interface Refusal {
  readonly status: number;
  readonly sentence: string;
}

/** The refusal of a request, or undefined. `name` is the host name that the monitor was told to listen at. */
export function refusal(request: IncomingMessage, name: string): Refusal | undefined {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, sentence: 'The monitor only shows things: ask with GET.' };
  }
  const { host, origin } = request.headers;
  const asked = hostOf(`http://${host ?? ''}`);
  if (asked === undefined || !isExpected(asked, name)) {
    return {
      status: 421,
      sentence: `Ask for the monitor by its address or as "localhost", not by another name.`,
    };
  }
  // A browser says where a request comes from: either header is enough, and programs send neither.
  const site = request.headers['sec-fetch-site'];
  const foreign =
    (origin !== undefined && origin !== `http://${host ?? ''}`) ||
    (site !== undefined && site !== 'same-origin' && site !== 'none' && !isNavigation(request));
  if (foreign) return { status: 403, sentence: 'The monitor answers no requests of other web pages.' };
  return undefined;
}

/** Somebody follows a link to the page: its own origin, whoever has the link. */
function isNavigation(request: IncomingMessage): boolean {
  return request.headers['sec-fetch-mode'] === 'navigate' && request.headers['sec-fetch-dest'] === 'document';
}

/**
 * A literal address cannot be rebound, because there is no name in it to point elsewhere. The port may be another than the
 * one listened at: that of a tunnel.
 */
function isExpected(asked: string, name: string): boolean {
  return (
    asked === 'localhost' || asked === name.toLowerCase() || isIP(asked.replace(/^\[(.*)\]$/, '$1')) !== 0
  );
}

function hostOf(url: string): string | undefined {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  // A Host header has a host and a port, nothing more.
  return parsed?.pathname === '/' && parsed.username === '' && parsed.search === ''
    ? parsed.hostname
    : undefined;
}
