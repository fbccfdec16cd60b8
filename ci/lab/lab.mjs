// The laboratory: two virtual machines with a soft-RoCE device each, joined by a link of their own, or one machine
// with one device. It is started once, runs any number of commands on its hosts, and leaves nothing behind.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { ensurePackages } from '../debian.mjs';
import { ScriptError, root } from '../process.mjs';
import { Guest } from './guest.mjs';
import { ensureInitramfs } from './initramfs.mjs';
import { ensureKernel } from './kernel.mjs';
import { guestPackages, machinePackages } from './packages.mjs';

const defaults = {
  single: false,
  cacheDirectory: path.join(root, 'build/lab'),
  results: path.join(root, 'build/lab/results'),
  cpus: 2,
  memoryMiB: 2048,
  // A guest whose host has forgotten it ends after this.
  lifetimeSeconds: 3600,
  // A guest whose kernel does nothing for this long ends.
  watchdogSeconds: 60,
};

export class Lab {
  /** The names of the hosts: ['a', 'b'], or ['a'] alone. */
  hosts;
  #guests;
  #directory;
  #clean = () => this.#abandon();

  /** Starts a laboratory; `options` are those of `defaults` above. Gives it back when both hosts take commands. */
  static async start(options = {}) {
    if (process.arch !== 'x64') throw new ScriptError('the laboratory needs an x86-64 machine');
    ensurePackages([...machinePackages, ...guestPackages]);
    const lab = new Lab({ ...defaults, ...options });
    try {
      await lab.#boot();
    } catch (error) {
      await lab.stop();
      throw error;
    }
    return lab;
  }

  constructor(settings) {
    const kernel = ensureKernel(settings.cacheDirectory);
    const initramfs = ensureInitramfs(settings.cacheDirectory, kernel);
    mkdirSync(settings.results, { recursive: true });
    // Not in the checkout: the path of a socket may be 107 bytes long.
    this.#directory = mkdtempSync(path.join(tmpdir(), 'splitplane-lab-'));
    this.hosts = settings.single ? ['a'] : ['a', 'b'];
    const options = { ...settings, kernel, initramfs, directory: this.#directory };
    this.#guests = Object.fromEntries(this.hosts.map((name) => [name, new Guest(name, options)]));
    process.once('exit', this.#clean);
  }

  /** Starts `command`, a line for a shell, on a host; options are env, cwd, user, memlockBytes, timeoutMs. */
  spawn(host, command, options) {
    return this.#guests[host].spawn(command, options);
  }

  /** Runs `command` to its end and gives back { code, signal, stdout, stderr }. */
  run(host, command, options) {
    return this.spawn(host, command, options).result;
  }

  async stop() {
    await Promise.all(Object.values(this.#guests).map((guest) => guest.stop()));
    process.off('exit', this.#clean);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #boot() {
    for (const guest of Object.values(this.#guests)) {
      await guest.start();
      // The second one calls the first one's end of the link.
      await Promise.race([guest.powered, guest.gone]);
    }
    await Promise.all(Object.values(this.#guests).map((guest) => guest.ready));
  }

  #abandon() {
    for (const guest of Object.values(this.#guests)) guest.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
