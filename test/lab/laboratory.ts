// The hosts that the tests of this folder share: a laboratory that the first of them starts and that ends with the
// process, or the real hosts that SPLITPLANE_RDMA names.
import {
  Lab,
  type CommandOptions,
  type CommandResult,
  type HostName,
  type Hosts,
} from '../../ci/lab/lab.mjs';

let opened: Promise<Hosts> | undefined;

/** The hosts, started by whoever asks first. */
export function laboratory(): Promise<Hosts> {
  return (opened ??= Lab.open());
}

/** Runs a command that must succeed, and gives back what it printed. */
export async function output(host: HostName, command: string, options?: CommandOptions): Promise<string> {
  const lab = await laboratory();
  return succeeded(await lab.run(host, command, options), command);
}

/** The standard output of a command, which must have ended with 0. */
export function succeeded({ code, signal, stdout, stderr }: CommandResult, command: string): string {
  if (code !== 0) throw new Error(`${command} ended with ${signal ?? code}:\n${stdout}${stderr}`);
  return stdout;
}
