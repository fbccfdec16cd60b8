// `splitplane info`: what this build can do on this machine.
import { Command } from 'commander';
import { addon, type TransportFacts } from '../dataplane/native.js';
import { SLICES_MAX } from '../dataplane/shared-blocks.js';
import { NetworkManager } from '../network/manager.js';
import { completeOptions } from '../network/options.js';
import { REFERENCES_MAX } from '../soap/references.js';
import { jsonOption } from './options.js';
import { formatSize, print, printJson, printTable } from './terminal.js';

const HELP = `
Examples:
  splitplane info
  splitplane info --json | jq '.transports[] | select(.available)'`;

export function infoCommand(): Command {
  return new Command('info')
    .description('show the transports, why one cannot be used here, and the limits')
    .addOption(jsonOption('one JSON object'))
    .addHelpText('after', HELP)
    .action(info);
}

function info({ json }: { json: boolean }): void {
  const manager = new NetworkManager();
  const { transports } = manager;
  manager.destroy();
  const options = completeOptions({});
  const encodings = options.serializers.map(({ name }) => name);
  const limits = {
    inlineBytesMax: options.inlineBytesMax,
    messageBytesMax: options.messageBytesMax,
    memoryBytesMax: options.memoryBytesMax,
    windowMessages: options.windowMessages,
    windowBytes: options.windowBytes,
    referencesPerMessageMax: REFERENCES_MAX,
    slicesPerTagMax: SLICES_MAX,
    tagsMax: options.tagsMax,
    connectionsMax: options.connectionsMax,
  };
  const crc32c = addon.crc32cImplementation;
  if (json) {
    printJson({
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
      crc32c,
      encodings,
      transports,
      limits,
    });
    return;
  }
  print(
    `Node ${process.version} on ${process.platform}-${process.arch}; CRC32C by ${crc32c}; encodings: ${encodings.join(', ')}`,
  );
  print('');
  for (const transport of transports) printTransport(transport);
  print('');
  print('Limits, unless a program sets others:');
  printTable(
    ['', ''],
    Object.entries(limits).map(([name, value]) => [
      `  ${name}`,
      name.includes('Bytes') ? formatSize(value) : value.toLocaleString('en'),
    ]),
  );
}

function printTransport({ name, available, reason, capabilities, facts }: TransportFacts): void {
  if (!available || capabilities === undefined) {
    print(`${name.padEnd(6)} not available: ${reason ?? 'this build does not say why'}`);
    return;
  }
  const { remoteRead, remoteWrite, writeNotification, remoteAtomics } = capabilities;
  const can = [
    remoteRead && 'remote read',
    remoteWrite && 'remote write',
    writeNotification && 'write with notification',
    remoteAtomics && 'remote atomics',
  ].filter((what) => what !== false);
  print(`${name.padEnd(6)} available: ${can.join(', ')}`);
  print(
    `       frames of up to ${formatSize(capabilities.frameBytesMax)}, ${capabilities.operationsMax} operations in flight per connection`,
  );
  for (const fact of facts) print(`       ${fact.name}: ${fact.text}`);
}
