// `splitplane serve`: offers a directory, and what `ping`, `perf` and `doctor` need, until it is told to stop. It is a runtime with
// three services, whose policy lets everybody ask these and nobody anything else.
import { once } from 'node:events';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { NetworkManager } from '../network/manager.js';
import { Runtime } from '../runtime/index.js';
import { parsePolicy } from '../runtime/policy.js';
import { printableLine } from '../runtime/printable.js';
import { DIAGNOSIS } from './doctor/contract.js';
import { DiagnosisService } from './doctor/diagnosis.js';
import { EXIT } from './failure.js';
import { FILES } from './files/client.js';
import { LoggedFiles } from './files/server.js';
import {
  allowInsecureOption,
  checkAddress,
  Interruption,
  jsonOption,
  pollOption,
  type ConnectingOptions,
} from './options.js';
import { MEASURE } from './perf/contract.js';
import { MeasureService } from './perf/server.js';
import { RequestLog, type LogEntry } from './request-log.js';
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

/** Anybody may ask for what is offered. Ending a service, and what else a runtime can be asked, is nobody's business here. */
const POLICY = `<policy xmlns="urn:splitplane:policy:1">
  <allow roles="*" register="*"/>
  <allow roles="*" verbs="Get Query Upsert Submit" path="/${FILES}"/>
  <allow roles="*" verbs="Get Submit" path="/${MEASURE}"/>
  <allow roles="*" verbs="Query" path="/${DIAGNOSIS}"/>
</policy>`;

async function serve(options: ServeOptions): Promise<void> {
  const { listen, readOnly, json, quiet, poll, allowInsecure, trustPeers: trustedPeers } = options;
  checkAddress(listen);
  using interruption = new Interruption({ withReader: true });
  const root = resolve(options.root);
  const runtime = await Runtime.start(
    {
      name: `${hostname()}/${process.pid}`,
      security: { off: false, policy: parsePolicy(POLICY, 'splitplane serve') },
      network: { listen: [listen], allowInsecure, poll },
    },
    { tuning: { trustedPeers } },
  );
  const manager = runtime.network as NetworkManager;
  try {
    const log = new RequestLog(quiet ? () => undefined : json ? logJson : logLine);
    // All at once: whoever connects this moment finds each at its name.
    await Promise.all([
      runtime.add(new LoggedFiles({ root, readOnly }, log), { name: FILES }),
      runtime.add(new MeasureService(manager, log), { name: MEASURE }),
      runtime.add(new DiagnosisService(manager, log), { name: DIAGNOSIS }),
    ]);
    for (const { address, addresses, passedOver } of runtime.listening) {
      if (json) printJson({ listening: address, addresses, passedOver, root, pid: process.pid });
      else {
        const how = readOnly ? ', read only' : '';
        print(`Listening on ${addresses.join(' and ')}, serving ${root}${how}`);
      }
    }
    if (!interruption.signal.aborted) await once(interruption.signal, 'abort');
    process.exitCode = EXIT.ok;
  } finally {
    // At once: a peer that goes on transferring would keep a polite close waiting.
    manager.destroy();
    await runtime.close();
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
  // Paths, and what is said of them, are the peer's words.
  print(printableLine(what.join(' ')));
}
