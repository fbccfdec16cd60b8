#!/usr/bin/env node
// The command `splitplane`: its subcommands, and how the process ends. One file per subcommand beside this one.
import { Command, CommanderError } from 'commander';
import { callCommand } from './call.js';
import { doctorCommand } from './doctor.js';
import { EXIT, EXIT_CODES_HELP, exitCodeOf, UsageError } from './failure.js';
import { getCommand } from './get.js';
import { infoCommand } from './info.js';
import { perfCommand } from './perf.js';
import { pingCommand } from './ping.js';
import { putCommand } from './put.js';
import { version } from '../runtime/version.js';
import { runCommand } from './run.js';
import { serveCommand } from './serve.js';
import { servicesCommand } from './services.js';
import { complain, guardOutput } from './terminal.js';
import { watchCommand } from './watch.js';

const HOST_HELP = `
HOST is HOST:PORT, [IPV6]:PORT, tcp://HOST:PORT, rdma://HOST:PORT or unix:/PATH; the port is 7350 when left out.
Nothing protects what is sent between hosts in this version: beyond this host, both sides have to
say --allow-insecure.

Examples:
  splitplane serve --root /srv/data                  # on one side
  splitplane get 127.0.0.1:data.bin .                # on the other
  splitplane put ./results 127.0.0.1:7350:incoming/
  splitplane perf 127.0.0.1 --quick
  splitplane run camera-host.xml                     # services, and what to ask one of them:
  splitplane call dos://127.0.0.1:7350/camera Get
`;

const json = process.argv.includes('--json');

/** Commander exits by itself unless told otherwise; and it knows one exit code for everything that is wrong. */
function endByItself(command: Command): void {
  command.exitOverride().showHelpAfterError('Run it with --help for its options.');
  // Told below, as every other failure.
  if (json) command.configureOutput({ writeErr: () => undefined, outputError: () => undefined });
  for (const subcommand of command.commands) endByItself(subcommand);
}

const program = new Command('splitplane')
  .description('Moves messages and bulk data between hosts: the message on one plane, its bytes on another.')
  .version(version)
  .addHelpText('after', HOST_HELP + EXIT_CODES_HELP);
for (const make of [
  infoCommand,
  doctorCommand,
  pingCommand,
  serveCommand,
  putCommand,
  getCommand,
  perfCommand,
  runCommand,
  servicesCommand,
  callCommand,
  watchCommand,
]) {
  program.addCommand(make());
}
endByItself(program);

guardOutput(json);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError && (error.exitCode === 0 || !json))
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else if (error instanceof CommanderError)
    process.exitCode = exitCodeOf(complain(new UsageError(error.message.replace(/^error: /, '')), json));
  else process.exitCode = exitCodeOf(complain(error, json));
}
