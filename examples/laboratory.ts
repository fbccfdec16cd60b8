// Two hosts with RDMA for the demo: the virtual ones of the laboratory (docs/RDMA.md), or those that SPLITPLANE_RDMA names. It only
// gives them the shape of hosts.ts; how they are started and reached is the business of ci/lab.
import process from 'node:process';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import type * as laboratory from '../ci/lab/lab.mjs';
import type { HostName as LabHostName, Hosts as LabHosts } from '../ci/lab/lab.mjs';
import { Hosts, PROJECT, type Program } from './hosts.js';

/** Starts the laboratory, or finds the real hosts. */
export async function openLaboratory(): Promise<Hosts> {
  // At run time this file is in dist/, and the laboratory is not.
  const { Lab } = (await import(`${PROJECT}ci/lab/lab.mjs`)) as typeof laboratory;
  const lab = await Lab.open();
  return await hostsOf(lab, () => lab.stop());
}

/** The hosts of a laboratory that runs already, for the demo; `remove` is called when they are closed. */
export async function hostsOf(lab: LabHosts, remove: () => Promise<void>): Promise<Hosts> {
  const near = lab.hosts.at(-1) ?? 'a';
  // One line of a shell: what is asked for is in the environment of commands on a host, and nowhere else.
  const { stdout } = await lab.run('a', 'echo $LAB_SELF');
  const address = stdout.trim();
  const kind = lab.virtual ? 'virtual machines with soft-RoCE devices' : 'hosts with RDMA devices';
  return new Hosts({
    description:
      near === 'a' ? `one of your hosts, ${address}, twice` : `two ${kind}; ${address} is the far one`,
    transport: 'rdma',
    address: address.includes(':') ? `[${address}]` : address,
    separate: true,
    emulated: lab.virtual,
    launch: (host, program, argument) => launch(lab, host === 'far' ? 'a' : near, program, argument),
    remove,
  });
}

function launch(lab: LabHosts, host: LabHostName, program: string, argument: string): Program {
  // A command begins in the checkout.
  const job = lab.spawn(host, `exec node ${program} "$ARGUMENT"`, { env: { ARGUMENT: argument } });
  const output = new PassThrough();
  const lines = createInterface({ input: output })[Symbol.asyncIterator]();
  job.on('stdout', (text: string) => output.write(text));
  job.on('stderr', (text: string) => process.stderr.write(text));
  const ended = job.result
    .finally(() => output.end())
    .then(({ code, signal }) => {
      if (code !== 0) throw new Error(`${program} ended with ${signal ?? code}`);
    });
  ended.catch(() => undefined);
  return { lines, ended, end: () => job.signal('SIGTERM') };
}
