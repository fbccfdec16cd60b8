// `splitplane services HOST`: what runs at a runtime, as its directory has it.
import { Command } from 'commander';
import { SplitplaneError } from '../errors.js';
import { Directory } from '../runtime/services/directory.js';
import type { Received } from '../runtime/shape.js';
import { printableLine } from '../runtime/printable.js';
import { answerOf } from './failure.js';
import { checkAddress, interruptible } from './options.js';
import { addRemoteOptions, Remote, type RemoteOptions } from './runtime/remote.js';
import { print, printJson, printTable } from './terminal.js';

const HELP = `
The directory of a runtime lists its own services, too: console, directory and node among them. WAITING
are messages before the service, HANDLED those that it was given, FAULTS those that it or its port refused.

Examples:
  splitplane services 127.0.0.1:7350
  splitplane services unix:/run/splitplane.sock --contract urn:example:camera:1
  splitplane services 127.0.0.1 --json | jq -r 'select(.state == "failed") | .problem'`;

interface ServicesOptions extends RemoteOptions {
  readonly contract?: string | undefined;
}

type Summary = Received<typeof Directory.operations.query.response>['services'][number];

export function servicesCommand(): Command {
  const command = new Command('services')
    .description('list the services of a runtime')
    .argument('<host>', 'where the runtime listens')
    .option('--contract <uri>', 'only those that have this contract');
  return addRemoteOptions(command, 'one JSON line for each').addHelpText('after', HELP).action(services);
}

async function services(host: string, options: ServicesOptions): Promise<void> {
  checkAddress(host);
  const { contract, json } = options;
  await interruptible(json, async (signal) => {
    await using remote = await Remote.connect(host, options, signal);
    const found: Summary[] = [];
    for await (const service of listed(remote, contract, signal)) {
      if (json) printJson(service);
      else found.push(service);
    }
    if (!json) show(found);
  });
}

/** Page after page, sorted by name. */
async function* listed(
  remote: Remote,
  contract: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<Summary, void, void> {
  const directory = remote.client.proxy(Directory, remote.uriOf('directory'));
  let after: string | undefined;
  do {
    const page = await answerOf(directory.query({ contract, after }, { signal }));
    yield* page.services;
    if (page.next !== undefined && after !== undefined && page.next <= after) {
      throw new SplitplaneError('MESSAGE_INVALID', 'The directory there goes round in circles. Correct it.');
    }
    after = page.next;
  } while (after !== undefined);
}

function show(found: readonly Summary[]): void {
  const rows = found.map(({ name, state, host, contract, subscribers, port }) => [
    printableLine(name),
    state,
    host,
    printableLine(contract),
    ...[port.depth, port.delivered, port.faults + port.refused, subscribers].map(String),
  ]);
  printTable(['NAME', 'STATE', 'WHERE', 'CONTRACT', 'WAITING', 'HANDLED', 'FAULTS', 'SUBSCRIBERS'], rows, 4);
  for (const { name, problem } of found) {
    if (problem !== undefined) print(`${printableLine(name)}: ${printableLine(problem)}`);
  }
}
