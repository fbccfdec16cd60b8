// Where threads and processes of services connect to their runtime: a unix socket in a folder that nobody else may enter. It is there
// only while somebody is expected, so that nothing is left of it however this process ends; and who is expected is known by the
// random id that he told over his channel before he connects.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Connection } from '../../network/connection.js';
import type { ListeningAddress } from '../../network/listening.js';
import type { NetworkManager } from '../../network/manager.js';
import type { Peer } from '../../network/security.js';
import type { Admit, Kernel } from '../kernel.js';
import type { RuntimeNetwork } from '../network.js';

const OWNER_ONLY = 0o700;

export class Door {
  readonly #manager: NetworkManager;
  /** To those who come through it. */
  readonly network: RuntimeNetwork;
  readonly #expected = new Map<string, { principal: string; arrived: (connection: Connection) => void }>();
  #folder: string | undefined;
  #listening: ListeningAddress | undefined;
  #holders = 0;
  #closed = false;
  /** What is being done to it, one thing after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(kernel: Kernel) {
    const { manager, network } = kernel.host((peer) => this.#admit(peer));
    this.#manager = manager;
    this.network = network;
    manager.on('connection', (connection) => {
      const { peer } = connection;
      if (!this.#isHere(peer)) return;
      const expected = this.#expected.get(peer.nodeId);
      // Once: whoever comes with this id later is somebody else.
      this.#expected.delete(peer.nodeId);
      if (expected === undefined) connection.destroy();
      else expected.arrived(connection);
    });
  }

  /** Who has to answer at the address. */
  get nodeId(): string {
    return this.#manager.nodeId;
  }

  /** Opens it until leave() is called as often; it has to be even when this rejects, as NetworkManager.listen does, or with SYSTEM. */
  async open(): Promise<void> {
    this.#holders++;
    await this.#then(() => this.#set());
  }

  /** Where it is, once it was open. */
  get address(): string {
    return `unix:${join(this.#folder ?? '', 's')}`;
  }

  leave(): void {
    this.#holders--;
    void this.#then(() => this.#set()).catch(() => undefined);
  }

  /** Who connects as this node is `principal`. `arrived` is called with his connection, unless forget() is called first. */
  expect(nodeId: string, principal: string, arrived: (connection: Connection) => void): void {
    this.#expected.set(nodeId, { principal, arrived });
  }

  forget(nodeId: string): void {
    this.#expected.delete(nodeId);
  }

  /** Settles when nothing is left of it; it opens no more. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#then(() => this.#set());
  }

  /** What a peer is who came through this door; undefined for one who came another way. */
  #admit(peer: Peer): ReturnType<Admit> {
    return this.#isHere(peer) ? { principal: this.#expected.get(peer.nodeId)?.principal } : undefined;
  }

  #isHere(peer: Peer): boolean {
    return !peer.dialed && this.#folder !== undefined && peer.localAddress === this.address;
  }

  #then(act: () => Promise<void>): Promise<void> {
    const done = this.#work.then(act);
    this.#work = done.catch(() => undefined);
    return done;
  }

  /** Makes what is so what is wanted. */
  async #set(): Promise<void> {
    const wanted = this.#holders > 0 && !this.#closed;
    if (wanted && this.#listening === undefined) {
      // The same path as before, because those who lost their connection look for it there.
      if (this.#folder === undefined) this.#folder = await mkdtemp(join(tmpdir(), 'splitplane-'));
      else await mkdir(this.#folder, { mode: OWNER_ONLY });
      try {
        this.#listening = await this.#manager.listen(this.address);
      } catch (error) {
        await rm(this.#folder, { recursive: true, force: true });
        throw error;
      }
    } else if (!wanted && this.#listening !== undefined && this.#folder !== undefined) {
      this.#listening.close();
      this.#listening = undefined;
      await rm(this.#folder, { recursive: true, force: true });
    }
  }
}
