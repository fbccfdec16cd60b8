// One virtual machine of the laboratory: its qemu process, the folder it shares with the host, and the line-by-line
// conversation with the agent inside (ci/lab/guest/agent.sh, which says what the lines are).

import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';

import { ScriptError, root } from '../process.mjs';
import { kernelOptions, processor } from './emulation.mjs';
import { followFiles } from './follow.mjs';
import { environmentOf, macOf } from './hosts.mjs';
import { Job } from './job.mjs';
import { commandScript, quote } from './shell-text.mjs';

// RoCE needs room for its headers beside a payload of 4096 bytes.
const linkMtu = 4200;
// How much of the console an error shows.
const consoleLinesShown = 15;
const consoleBytesMax = 256 * 1024;
const offTimeoutMs = 5000;

function linkOption({ single, name, directory }) {
  // A hub with nobody else: the card has a carrier, and what it sends goes nowhere.
  if (single) return 'hubport,id=link,hubid=0';
  const server = name === 'a' ? 'on' : 'off';
  return `stream,id=link,server=${server},addr.type=unix,addr.path=${path.join(directory, 'link')}`;
}

/** Where the host listens for a channel of a guest, before the guest is there. */
const channelPath = (directory, name, channel) => path.join(directory, `${channel}-${name}`);

function qemuArguments(options) {
  const { name, single, kernel, initramfs, directory, shared, results, cpus, memoryMiB, terminal } = options;
  const channel = (id) => `socket,id=${id},path=${channelPath(directory, name, id)}`;
  const share = (tag, folder, more = '') =>
    `local,path=${folder.replaceAll(',', ',,')},mount_tag=${tag},security_model=none,multidevs=remap${more}`;
  return [
    ...['-nodefaults', '-nographic', '-no-reboot', '-serial', 'stdio'],
    ...['-accel', 'tcg,thread=multi', '-cpu', processor, '-smp', String(cpus), '-m', String(memoryMiB)],
    ...['-kernel', kernel.image, '-initrd', initramfs, '-append', kernelOptions()],
    ...['-virtfs', share('host', '/', ',readonly=on')],
    ...['-virtfs', share('lab', shared)],
    ...['-virtfs', share('results', results)],
    ...['-netdev', linkOption({ single, name, directory })],
    ...['-device', `virtio-net-pci,netdev=link,mac=${macOf(name)},host_mtu=${linkMtu},romfile=`],
    ...['-device', 'virtio-serial-pci'],
    ...(terminal ? ['-chardev', channel('terminal'), '-device', 'virtconsole,chardev=terminal'] : []),
    ...['-chardev', channel('control'), '-device', 'virtserialport,chardev=control,name=lab'],
    ...['-device', 'i6300esb', '-action', 'watchdog=poweroff'],
  ];
}

export class Guest {
  #name;
  #options;
  #directory;
  #shared;
  #process;
  #control;
  #jobs = new Map();
  #jobCount = 0;
  #console = '';
  #started;
  #stopping = false;
  #lost;
  /** Resolves when the machine has written something, by when its end of the link exists. */
  powered;
  /** Resolves when commands can be run; rejects with what the machine said if that never comes. */
  ready;
  /** Resolves when the process has ended. */
  gone;
  /** The socket that is /dev/hvc0 in the machine, if it was started with `terminal`. */
  terminal;

  /** `options` are those of a laboratory, and with them: kernel, initramfs, directory (of this run), terminal. */
  constructor(name, options) {
    this.#name = name;
    this.#options = options;
    this.#directory = options.directory;
    this.#shared = path.join(options.directory, name);
  }

  /** Starts the machine; what became of that is told by the three promises. */
  async start() {
    mkdirSync(this.#shared);
    writeFileSync(path.join(this.#shared, 'settings'), this.#settings());
    const servers = [await this.#listen('control', (socket) => this.#converse(socket))];
    if (this.#options.terminal) {
      servers.push(await this.#listen('terminal', (socket) => (this.terminal = socket)));
    }
    const qemu = spawn(
      'qemu-system-x86_64',
      qemuArguments({ ...this.#options, name: this.#name, shared: this.#shared }),
      // A group of its own, so that Ctrl-C in a terminal reaches this process only, which then ends the guests.
      { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
    );
    this.#process = qemu;
    this.ready = new Promise((resolve, reject) => (this.#started = { resolve, reject }));
    this.ready.catch(() => {});
    for (const stream of [qemu.stdout, qemu.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => (this.#console = (this.#console + text).slice(-consoleBytesMax)));
    }
    this.powered = new Promise((resolve) => qemu.stdout.once('data', resolve));
    this.gone = new Promise((resolve) => {
      qemu.once('error', (error) => (this.#console += error.message));
      qemu.once('close', () => resolve(undefined));
    }).then(() => {
      for (const server of servers) server.close();
      this.#lose('ended by itself');
    });
  }

  /** Starts a command; options are env, cwd, user, memlockBytes and timeoutMs. */
  spawn(command, { env = {}, cwd = root, user, memlockBytes, timeoutMs } = {}) {
    if (this.#lost) throw this.#lost;
    const id = (this.#jobCount += 1);
    const directory = path.join(this.#shared, String(id));
    mkdirSync(directory);
    const environment = {
      HOME: process.env.HOME ?? '/',
      PATH: `${path.dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      ...env,
      ...environmentOf(this.#name, this.#options),
    };
    const script = commandScript(command, { cwd, env: environment, user, memlockBytes });
    writeFileSync(path.join(directory, 'command'), script);
    const job = new Job({
      description: `${command} on host ${this.#name}`,
      sendSignal: (signal) => {
        if (this.#jobs.has(id)) this.#send(`signal ${id} ${signal.replace(/^SIG/, '')}`);
      },
      timeoutMs,
    });
    const readToEnd = followFiles(directory, ['stdout', 'stderr'], (stream, text) =>
      job.append(stream, text),
    );
    this.#jobs.set(id, { job, readToEnd });
    this.#send(`run ${id}`);
    return job;
  }

  /** Ends the machine, in good order if it answers. */
  async stop() {
    this.#stopping = true;
    this.#control?.end('off\n');
    const timer = setTimeout(() => this.kill(), offTimeoutMs);
    await this.gone;
    clearTimeout(timer);
  }

  /** Ends the machine at once; can be called while the process exits. */
  kill() {
    this.#process?.kill('SIGKILL');
  }

  #settings() {
    const { results, kernel, lifetimeSeconds, watchdogSeconds } = this.#options;
    const environment = environmentOf(this.#name, this.#options);
    const settings = {
      ...environment,
      LAB_ROOT: root,
      LAB_RESULTS: results,
      LAB_HOSTNAME: `lab-${this.#name}`,
      LAB_MODULES: path.join(kernel.modules, 'lib/modules', kernel.version),
      LAB_LIFETIME_SECONDS: lifetimeSeconds,
      LAB_WATCHDOG_SECONDS: watchdogSeconds,
    };
    return Object.entries(settings)
      .map(([key, value]) => `${key}=${quote(value)}\n`)
      .join('');
  }

  #listen(channel, onSocket) {
    const server = createServer((socket) => {
      // The machine may end at any time; that is told by the end of its process.
      socket.on('error', () => {});
      onSocket(socket);
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(channelPath(this.#directory, this.#name, channel), () => resolve(server));
    });
  }

  #converse(socket) {
    this.#control = socket;
    const lines = createInterface({ input: socket });
    // It hands on what the socket complains of.
    lines.on('error', () => {}).on('line', (line) => this.#onLine(line));
  }

  #onLine(line) {
    const [verb, ...words] = line.split(' ');
    if (verb === 'ready') this.#started.resolve();
    else if (verb === 'failed') this.#lose(`did not start: ${words.join(' ')}`);
    else if (verb === 'exit') {
      const [id, code] = words.map(Number);
      const { job, readToEnd } = this.#jobs.get(id);
      this.#jobs.delete(id);
      void readToEnd().then(() => job.ended(code));
    }
  }

  #send(line) {
    this.#control?.write(`${line}\n`);
  }

  #lose(what) {
    const lines = this.#console.trimEnd().split('\n').slice(-consoleLinesShown).join('\n');
    const why = this.#stopping ? 'was stopped' : `${what}; the end of its console:\n${lines}`;
    const error = new ScriptError(`host ${this.#name} ${why}`);
    this.#lost ??= error;
    this.#started.reject(error);
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    for (const { job, readToEnd } of jobs) void readToEnd().then(() => job.lost(error));
  }
}
