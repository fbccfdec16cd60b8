// A TCP proxy that does to a link what networks and strangers do: cut it, cut it after so many bytes, reset it, flip a
// bit, stop passing bytes on, or pass the next link on to somebody else. Knows nothing of what passes.
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach } from 'vitest';

/** Towards the server that was connected to, or back. */
export type Direction = 'up' | 'down';

/** What may be done to bytes on their way: answers what to pass on, undefined to cut the link here. */
export type Tamper = (
  bytes: Buffer,
  where: { link: number; direction: Direction; at: number },
) => Buffer | undefined;

interface Link {
  readonly client: Socket;
  readonly server: Socket;
}

const proxies = new Set<Proxy>();

afterEach(async () => {
  await Promise.all([...proxies].map((proxy) => proxy.close()));
});

export class Proxy {
  /** Bytes that passed so far, all links together. */
  readonly passed = { up: 0, down: 0 };
  /** Links so far. A connection has several: its control socket first. */
  linkCount = 0;
  /** Called for what passes; unset, everything passes as it is. */
  tamper: Tamper | undefined;
  /** Called for each new link. */
  onLink: (() => void) | undefined;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #target: { host: string; port: number };
  #refusing = false;
  #stalled = false;

  private constructor(target: { host: string; port: number }) {
    this.#target = target;
    this.#server = createServer({ pauseOnConnect: true }, (client) => this.#accept(client));
    proxies.add(this);
  }

  /** A proxy in front of `tcp://HOST:PORT`. */
  static async before(address: string): Promise<Proxy> {
    const proxy = new Proxy(parse(address));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** Where to connect to. */
  get address(): string {
    return `tcp://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get openCount(): number {
    return this.#links.size;
  }

  /** Whether new links are reset at once. */
  set refusing(refusing: boolean) {
    this.#refusing = refusing;
  }

  /** From the next link on, somebody else answers. */
  redirect(address: string): void {
    this.#target = parse(address);
  }

  /** Ends all links in the middle of whatever passes; `reset` with RST instead of FIN. */
  cut(reset = false): void {
    for (const { client, server } of this.#links) {
      if (reset) {
        client.resetAndDestroy();
        server.resetAndDestroy();
      } else {
        client.destroy();
        server.destroy();
      }
    }
    this.#links.clear();
  }

  /** Passes nothing on, and tells nobody: what a pulled cable does. */
  set stalled(stalled: boolean) {
    this.#stalled = stalled;
    for (const { client, server } of this.#links) {
      for (const socket of [client, server]) {
        if (stalled) socket.pause();
        else socket.resume();
      }
    }
  }

  async close(): Promise<void> {
    proxies.delete(this);
    this.cut();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    client.on('error', () => undefined);
    if (this.#refusing) {
      client.resetAndDestroy();
      return;
    }
    const index = this.linkCount++;
    const server = connect({ ...this.#target, noDelay: true });
    client.setNoDelay(true);
    const link = { client, server };
    this.#links.add(link);
    this.#pipe(link, index, 'up', client, server);
    this.#pipe(link, index, 'down', server, client);
    if (!this.#stalled) client.resume();
    this.onLink?.();
  }

  #pipe(link: Link, index: number, direction: Direction, from: Socket, to: Socket): void {
    let at = 0;
    from.on('data', (bytes) => {
      const passing = this.tamper === undefined ? bytes : this.tamper(bytes, { link: index, direction, at });
      at += bytes.length;
      this.passed[direction] += bytes.length;
      if (passing === undefined) {
        this.cut();
        return;
      }
      if (!to.destroyed && !to.write(passing)) {
        from.pause();
        to.once('drain', () => {
          if (!this.#stalled) from.resume();
        });
      }
    });
    from.on('end', () => to.end());
    from.on('error', () => to.destroy());
    from.on('close', () => {
      to.destroy();
      this.#links.delete(link);
    });
  }
}

function parse(address: string): { host: string; port: number } {
  const url = new URL(address.replace(/^tcp:/, 'http:'));
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) };
}
