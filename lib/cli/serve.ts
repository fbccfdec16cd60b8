// `splitplane serve`: offers a directory, and what `ping`, `perf` and `doctor` need, until it is told to stop.
import { once } from 'node:events';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { NetworkManager } from '../network/manager.js';
import { DiagnosisService } from './doctor/diagnosis.js';
import { EXIT } from './failure.js';
import { FileService } from './files/server.js';
import { Root } from '../runtime/services/files/root.js';
import {
  allowInsecureOption,
  checkAddress,
  Interruption,
  jsonOption,
  pollOption,
  type ConnectingOptions,
} from './options.js';
import { PerfService } from './perf/server.js';
import { Service, type LogEntry } from './service.js';
import { formatBytes, print, printJson } from './terminal.js';

const HELP = `
Serves what lies below the root and nothing else: ".." and symbolic links that lead out are refused.
Whoever can connect may read and, without --read-only, write there. On loopback that is every user of
this machine; listen on unix:/PATH in a directory of yours to keep others out.

The first line says where it listens; port 0 takes a free one. Then comes a line for each request: time,
peer, action, path, bytes, milliseconds, outcome. SIGINT or SIGTERM ends it in good order, with exit code 0.

Examples:
  splitplane serve --root /srv/data --read-only
  splitplane serve --listen 127.0.0.1:0 --json
  splitplane serve --listen unix:/run/user/1000/splitplane.sock
  splitplane serve --listen 0.0.0.0:7350 --allow-insecure     # a network that you trust`;

interface ServeOptions extends ConnectingOptions {
  readonly listen: string;
  readonly root: string;
  readonly readOnly: boolean;
  readonly trustPeers: boolean;
  readonly quiet: boolean;
}

export function serveCommand(): Command {
  return new Command('serve')
    .description('offer a directory to get from and put to, and answer ping, perf and doctor')
    .option('--listen <address>', 'where to listen', '127.0.0.1:7350')
    .option('--root <dir>', 'what to offer', '.')
    .option('--read-only', 'refuse to write', false)
    .addOption(pollOption())
    .addOption(allowInsecureOption())
    .option(
      '--trust-peers',
      'over RDMA, keep memory registered between transfers: whoever connects can then read and write more of this ' +
        "process's buffers than it was given",
      false,
    )
    .option('--quiet', 'no line for each request', false)
    .addOption(jsonOption('the lines as JSON'))
    .addHelpText('after', HELP)
    .action(serve);
}

async function serve(options: ServeOptions): Promise<void> {
  checkAddress(options.listen);
  const { json, quiet, poll, allowInsecure, trustPeers: trustedPeers } = options;
  using interruption = new Interruption();
  const place = resolve(options.root);
  await using root = await Root.open(place);
  const manager = new NetworkManager({ poll });
  try {
    await using files = new FileService(root, manager, options.readOnly);
    const log = quiet ? () => undefined : json ? logJson : logLine;
    const others = { ...new PerfService().handlers, ...new DiagnosisService().handlers };
    const service = new Service(manager, { ...files.handlers, ...others }, log);
    const { address, addresses, passedOver } = await manager.listen(options.listen, {
      allowInsecure,
      trustedPeers,
    });
    if (json) printJson({ listening: address, addresses, passedOver, root: place, pid: process.pid });
    else {
      const how = options.readOnly ? ', read only' : '';
      print(`Listening on ${addresses.join(' and ')}, serving ${place}${how}`);
    }
    const running = service.run();
    if (!interruption.signal.aborted) await once(interruption.signal, 'abort');
    // At once: a peer that goes on transferring would keep a polite close waiting.
    manager.destroy();
    await running;
    process.exitCode = EXIT.ok;
  } finally {
    manager.destroy();
  }
}

function logJson({ action, peer, path, bytes, ms, problem }: LogEntry): void {
  printJson({
    time: new Date().toISOString(),
    peer,
    action,
    path,
    bytes,
    ms: Math.round(ms),
    error: problem,
  });
}

function logLine({ action, peer, path, bytes, ms, problem }: LogEntry): void {
  const what = [new Date().toISOString(), peer, action];
  if (path !== undefined) what.push(JSON.stringify(path));
  if (bytes !== undefined) what.push(formatBytes(bytes));
  what.push(`${ms.toFixed(0)} ms`, problem === undefined ? 'ok' : `${problem.code}: ${problem.message}`);
  print(what.join(' '));
}
