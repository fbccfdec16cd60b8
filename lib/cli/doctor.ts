// `splitplane doctor [HOST]`: what keeps this host, or the way to another, from using RDMA, and what to do about each.
import { Command } from 'commander';
import { NetworkManager } from '../network/manager.js';
import { diagnose } from './doctor/diagnosis.js';
import type { Finding } from './doctor/finding.js';
import { examineHost } from './doctor/host.js';
import { printFindings, printFindingsJson } from './doctor/print.js';
import { EXIT } from './failure.js';
import {
  allowInsecureOption,
  checkAddress,
  Interruption,
  jsonOption,
  pollOption,
  type ConnectingOptions,
} from './options.js';

const HELP = `
Without HOST it looks at this host and changes nothing. With HOST it also connects to the \`splitplane serve\`
there, asks it for its own findings, and moves a mebibyte over RDMA if both sides have it.

A finding is ok, a warning (it works, not as well as it could), a problem, or skipped (another finding
stands in the way). Exits with 1 when there is a problem, on either side.

Examples:
  splitplane doctor
  splitplane doctor 192.0.2.7 --allow-insecure
  splitplane doctor --json | jq 'select(.status == "problem") | .commands'`;

/** Not which transport to use: that is what it finds out. */
type DoctorOptions = Omit<ConnectingOptions, 'transport'>;

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('find out why RDMA does not work, here and on the way to a host')
    .argument('[host]', 'where `splitplane serve` listens')
    .addOption(pollOption())
    .addOption(allowInsecureOption())
    .addOption(jsonOption('one JSON line for each finding'))
    .addHelpText('after', HELP)
    .action(run);
}

async function run(host: string | undefined, options: DoctorOptions): Promise<void> {
  if (host !== undefined) checkAddress(host);
  using interruption = new Interruption();
  const { signal } = interruption;
  const manager = new NetworkManager();
  const { transports } = manager;
  manager.destroy();
  let findings: readonly Finding[];
  try {
    const here = await diagnose(transports);
    const further = host === undefined ? [] : await examineHost(host, options, here, signal);
    findings = [...here.findings, ...further];
  } catch (error) {
    if (interruption.exitCode === undefined) throw error;
    process.exitCode = interruption.exitCode;
    return;
  }
  if (options.json) printFindingsJson(findings);
  else printFindings(findings, host);
  process.exitCode = findings.some(({ status }) => status === 'problem') ? EXIT.failed : EXIT.ok;
}
