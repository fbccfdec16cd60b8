// The monitor: a small web server that shows one runtime to people, as a page that follows it, and to programs, as JSON. It
// only reads, through the function that it was given; it holds no part of the runtime and cannot change anything in it.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { SplitplaneError } from '../../errors.js';
import { isLocal, literalAddress, parseAddress } from '../../network/address.js';
import type { RuntimeSnapshot } from '../snapshot.js';
import { messageOf } from '../describe.js';
import { refusal } from './admission.js';
import { json } from './changes.js';
import { Feed, type FeedLimits } from './feed.js';
import { readPage, type PageFile } from './page-file.js';
import { PATHS } from './wire.js';

/** Sockets at once, those of viewers among them; a further one is closed at once. */
const SOCKETS_MAX = 64;
const HEADER_BYTES_MAX = 16 * 1024;
/** How long a client may take to ask, and to stay without asking. */
const REQUEST_MS_MAX = 10_000;
const IDLE_MS_MAX = 5_000;
/** How soon one that found no place may ask again. */
const RETRY_AFTER_SECONDS = 5;

const LIMITS: FeedLimits = { intervalMs: 1_000, viewersMax: 16, stalledMs: 15_000 };

export interface MonitorOptions {
  /** Listen beyond this host, although whoever is on the way can read what is shown. */
  readonly allowInsecure?: boolean | undefined;
  /** @internal For tests that reach them. */
  readonly limits?: Partial<FeedLimits> | undefined;
}

export class Monitor implements AsyncDisposable {
  /** Where the page is; `/snapshot.json` beside it is for programs. */
  readonly url: string;
  readonly #server: Server;
  readonly #feed: Feed;
  #closing: Promise<void> | undefined;

  private constructor(server: Server, feed: Feed, url: string) {
    this.#server = server;
    this.#feed = feed;
    this.url = url;
  }

  /**
   * Listens at `listen`, http://HOST:PORT; port 0 takes a free one. `source` is called at most once a second and only while
   * somebody looks; what it gives must not change afterwards, and when it throws, the page shows the message. Every
   * user of this host can look.
   * Rejects with ADDRESS_INVALID, ADDRESS_IN_USE, INSECURE_TRANSPORT for an address beyond this host that nobody allowed, or SYSTEM.
   */
  static async open(
    listen: string,
    source: () => RuntimeSnapshot,
    options: MonitorOptions = {},
  ): Promise<Monitor> {
    const { host, port } = parseListen(listen);
    // The literal address keeps a name from standing for one address in the check and another in the call.
    const literal = await literalAddress({ transport: 'http', host, port, path: undefined });
    if (!isLocal(literal) && options.allowInsecure !== true) {
      throw new SplitplaneError(
        'INSECURE_TRANSPORT',
        `${listen} is beyond this host, and whoever is on the way could read what the monitor shows. ` +
          'Listen on 127.0.0.1 (a tunnel brings it elsewhere), or allow it with allow-insecure in a network you trust.',
      );
    }
    const page = await readPage();
    const feed = new Feed(source, { ...LIMITS, ...options.limits });
    const server = createServer(
      {
        maxHeaderSize: HEADER_BYTES_MAX,
        requestTimeout: REQUEST_MS_MAX,
        headersTimeout: REQUEST_MS_MAX,
        connectionsCheckingInterval: REQUEST_MS_MAX,
        keepAliveTimeout: IDLE_MS_MAX,
      },
      (request, response) => {
        void answer(request, response, { feed, page, name: host });
      },
    );
    server.maxConnections = SOCKETS_MAX;
    await listenAt(server, literal, listen);
    // A connection that could not be taken, for want of descriptors say: the next one may be, and the page asks again.
    server.on('error', () => undefined);
    const { port: actual } = server.address() as AddressInfo;
    return new Monitor(server, feed, `http://${host.includes(':') ? `[${host}]` : host}:${actual}/`);
  }

  /** Ends every stream and stops listening. Settles when nothing is left open. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(): Promise<void> {
    this.#feed.close();
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

interface Serving {
  readonly feed: Feed;
  readonly page: PageFile;
  /** The host that the monitor was told to listen at. */
  readonly name: string;
}

async function answer(request: IncomingMessage, response: ServerResponse, serving: Serving): Promise<void> {
  const { feed, page } = serving;
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
  // A client that goes away in the middle is no concern of anybody; without a listener it would end the process.
  response.on('error', () => undefined);
  const refused = refusal(request, serving.name);
  if (refused !== undefined) {
    say(response, refused.status, refused.sentence);
    return;
  }
  const [path] = (request.url ?? '').split('?', 1);
  if (path === PATHS.page) {
    response.setHeader('content-security-policy', page.policy);
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end(page.html);
  } else if (path === PATHS.events) {
    watch(request, response, feed);
  } else if (path === PATHS.snapshot) {
    await sendSnapshot(request, response, feed);
  } else {
    say(response, 404, `There is the page at ${PATHS.page} and its data at ${PATHS.snapshot}.`);
  }
}

const HEADERS = {
  'cache-control': 'no-store',
  // Replaced by the page's own.
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

function watch(request: IncomingMessage, response: ServerResponse, feed: Feed): void {
  if (feed.full) {
    response.setHeader('retry-after', RETRY_AFTER_SECONDS);
    say(response, 503, 'As many look at this page as can. Close it elsewhere, or wait until somebody does.');
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  // HEAD is how the page finds out why it was refused: it takes no place.
  if (request.method === 'HEAD') response.end();
  else feed.add(response);
}

async function sendSnapshot(request: IncomingMessage, response: ServerResponse, feed: Feed): Promise<void> {
  let snapshot: RuntimeSnapshot;
  try {
    snapshot = feed.snapshot();
  } catch (error) {
    say(response, 500, messageOf(error));
    return;
  }
  response.writeHead(200, { 'content-type': 'application/json' });
  if (request.method === 'HEAD') response.end();
  // A failure here is a client that went away: the pipeline has cleaned up.
  else await pipeline(Readable.from(json(snapshot)), response).catch(() => undefined);
}

function say(response: ServerResponse, status: number, sentence: string): void {
  if (status === 405) response.setHeader('allow', 'GET, HEAD');
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${sentence}\n`);
}

function parseListen(listen: string): { host: string; port: number } {
  const hasForm = /^http:\/\/[^/]+:\d{1,5}\/?$/.test(listen);
  const { host, port } = hasForm ? parseAddress(listen) : { host: undefined, port: 0 };
  if (host === undefined) {
    throw new SplitplaneError(
      'ADDRESS_INVALID',
      `${JSON.stringify(listen)} is no address for the monitor. Write http://HOST:PORT, for example http://127.0.0.1:0.`,
    );
  }
  return { host, port };
}

async function listenAt(server: Server, literal: string, listen: string): Promise<void> {
  const [, host = '', port = '0'] = /^(.*):(\d+)$/.exec(literal) ?? [];
  try {
    server.listen(Number(port), host.replace(/^\[(.*)\]$/, '$1'));
    await once(server, 'listening');
  } catch (cause) {
    const inUse = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
    const sentence = inUse
      ? `Somebody listens at ${listen} already. Take another port; 0 takes a free one.`
      : `The monitor cannot listen at ${listen}: ${(cause as Error).message}. Check the address.`;
    throw new SplitplaneError(inUse ? 'ADDRESS_IN_USE' : 'SYSTEM', sentence, { cause });
  }
}
