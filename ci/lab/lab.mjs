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
import { RealLab } from './real.mjs';

/** Where hosts leave files for this side, unless it is said otherwise. */
export const resultsDirectory = path.join(root, 'build/lab/results');

const defaults = {
  single: false,
  cacheDirectory: path.join(root, 'build/lab'),
  results: resultsDirectory,
  cpus: 2,
  memoryMiB: 2048,
  // A guest whose host has forgotten it ends after this.
  lifetimeSeconds: 3600,
  // A guest whose kernel does nothing for this long ends.
  watchdogSeconds: 60,
  // A host that gets a terminal.
  terminal: undefined,
};

const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Installs what is missing; throws a ScriptError that says why no laboratory can be started here. */
export function ensureLabPossible() {
  if (process.arch !== 'x64') {
    throw new ScriptError(
      `the laboratory boots Debian's kernel for x86-64, and this machine is ${process.arch}`,
    );
  }
  ensurePackages([...machinePackages, ...guestPackages]);
}

export class Lab {
  /** The names of the hosts: ['a', 'b'], or ['a'] alone. */
  hosts;
  /** Whether the hosts belong to this laboratory alone, so that a test may take their links and modules away. */
  virtual = true;
  #guests;
  #directory;
  #onExit = () => this.#abandon();
  #onSignal = (signal) => {
    this.#abandon();
    // The listener is gone by now: the process ends as if there had been none.
    process.kill(process.pid, signal);
  };

  /** The hosts that SPLITPLANE_RDMA names where it is set, and otherwise a laboratory started with `options`. */
  static async open(options = {}) {
    const named = process.env.SPLITPLANE_RDMA;
    return named ? new RealLab(named, { ...defaults, ...options }) : Lab.start(options);
  }

  /** Starts a laboratory; `options` are those of `defaults` above. Gives it back when both hosts take commands. */
  static async start(options = {}) {
    ensureLabPossible();
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
    this.#guests = Object.fromEntries(
      this.hosts.map((name) => [name, new Guest(name, { ...options, terminal: settings.terminal === name })]),
    );
    process.once('exit', this.#onExit);
    for (const signal of endingSignals) process.once(signal, this.#onSignal);
  }

  /** Starts `command`, a line for a shell, on a host; options are env, cwd, user, memlockBytes, timeoutMs. */
  spawn(host, command, options) {
    return this.#guests[host].spawn(command, options);
  }

  /** Runs `command` to its end and gives back { code, signal, stdout, stderr }. */
  run(host, command, options) {
    return this.spawn(host, command, options).result;
  }

  /** The socket that is /dev/hvc0 on the host that was started with a terminal. */
  terminal(host) {
    return this.#guests[host].terminal;
  }

  async stop() {
    await Promise.all(Object.values(this.#guests).map((guest) => guest.stop()));
    process.off('exit', this.#onExit);
    for (const signal of endingSignals) process.off(signal, this.#onSignal);
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
