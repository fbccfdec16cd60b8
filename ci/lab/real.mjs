// Hosts with real RDMA devices in the place of the laboratory's guests, for people who have them. SPLITPLANE_RDMA names
// them with the addresses of their devices: "nodeA/10.1.0.1,nodeB/10.1.0.2", or one alone, which is then its own peer.
// Commands reach a host through ssh, and `localhost` without. The checkout has to be at the same path on all of them.

import { spawn } from 'node:child_process';
import process from 'node:process';

import { ScriptError, root } from '../process.mjs';
import { Job } from './job.mjs';
import { commandScript, quote } from './shell-text.mjs';

const hostNames = ['a', 'b'];

/**
 * A line for a shell that runs `script` in a session of its own, whose number is the first thing it writes to standard error,
 * and ends with the script's exit code, or with what a shell makes of a signal. The script is told to end when standard input
 * does, which whoever asked for it holds: it may have been killed, or its connection cut.
 */
const inSession = (script) =>
  `exec 3<&0; setsid /bin/sh -c 'echo $$ >&2; exec /bin/sh -c "$0"' ${quote(script)} 3<&- & job=$!
  { read -r _ <&3; kill -s TERM -- "-$job"; } >/dev/null 2>&1 & leash=$!
  wait "$job"; code=$?; kill "$leash"; exit "$code"`;

/** Starts the shell text `script` on a machine. */
function launch(machine, script, stdio) {
  if (machine === 'localhost') return spawn('/bin/sh', ['-c', script], { stdio });
  return spawn('ssh', ['-o', 'BatchMode=yes', machine, script], { stdio });
}

/** Reads what SPLITPLANE_RDMA says: [{ name, machine, address }]. */
function readHosts(text) {
  const entries = text.split(',').map((entry) => entry.split('/'));
  if (
    entries.length > hostNames.length ||
    entries.some((parts) => parts.length !== 2 || parts.includes(''))
  ) {
    throw new ScriptError(
      `SPLITPLANE_RDMA is "${text}"; write HOST/ADDRESS or HOST/ADDRESS,HOST/ADDRESS, where ADDRESS belongs to the RDMA device`,
    );
  }
  return entries.map(([machine, address], index) => ({ name: hostNames[index], machine, address }));
}

/** Runs commands as a Lab does (lab.mjs). */
export class RealLab {
  virtual = false;
  hosts;
  #byName;
  #results;

  constructor(text, { results }) {
    const hosts = readHosts(text);
    this.hosts = hosts.map(({ name }) => name);
    this.#results = results;
    this.#byName = Object.fromEntries(
      hosts.map((host) => {
        const peer = hosts.find(({ name }) => name !== host.name) ?? host;
        return [host.name, { ...host, peer: peer.address }];
      }),
    );
  }

  spawn(host, command, { env = {}, cwd = root, user, memlockBytes, timeoutMs } = {}) {
    const { machine, address, peer } = this.#byName[host];
    const lab = {
      LAB_HOST: host,
      LAB_SELF: address,
      LAB_PEER: peer,
      LAB_RESULTS: this.#results,
      LAB_DEVICE: process.env.LAB_DEVICE ?? '',
    };
    const script = commandScript(command, { cwd, env: { ...env, ...lab }, user, memlockBytes });
    const child = launch(machine, inSession(script), ['pipe', 'pipe', 'pipe']);
    let head = '';
    let group;
    const job = new Job({
      description: `${command} on ${machine}`,
      sendSignal: (signal) => {
        if (group === undefined) child.kill(signal);
        else launch(machine, `kill -s ${signal.replace(/^SIG/, '')} -- -${group}`, 'ignore');
      },
      timeoutMs,
    });
    child.stdout.setEncoding('utf8').on('data', (text) => job.append('stdout', text));
    child.stderr.setEncoding('utf8').on('data', (text) => {
      if (group !== undefined) return job.append('stderr', text);
      head += text;
      const first = /^(\d+)\n/.exec(head);
      if (!first) return;
      group = first[1];
      if (head.length > first[0].length) job.append('stderr', head.slice(first[0].length));
    });
    child.once('error', (error) => job.lost(new ScriptError(`cannot reach ${machine}: ${error.message}`)));
    child.once('close', (code) => {
      if (group === undefined) job.lost(new ScriptError(`cannot run on ${machine}: ${head.trim()}`));
      else job.ended(code ?? 255);
    });
    return job;
  }

  run(host, command, options) {
    return this.spawn(host, command, options).result;
  }

  // Nothing was started but commands.
  async stop() {}
}
