// `npm run demo`: two hosts, each with a runtime from a manifest: a camera on one is watched from the other. Then one serves a directory,
// and the other gets what is in it and puts it back. Shows one message with its two planes, then what moved, how fast, and
// whether every byte is right. This is its command line and what people see of it;
// demonstration.ts is what happens. Exits with 1 if a digest differs.
import process from 'node:process';
import { parseArgs } from 'node:util';
import { demonstrate, type DemoEvent, type Transfer } from './demonstration.js';
import type { Watched } from './camera-hosts.js';
import { makeHosts, type Hosts } from './hosts.js';
import { openLaboratory } from './laboratory.js';

const USAGE = `usage: npm run demo -- [--rdma] [--json]
Watches a camera from another host, moves real files between the two and back, and compares every byte.
  --rdma   over RDMA, between the two virtual hosts of the laboratory, or between those that
           SPLITPLANE_RDMA names (docs/RDMA.md), instead of over TCP between two network namespaces
  --json   one JSON object per line: hosts, message, watched, moved and transfer (several), result
  --help   this`;

const OPTIONS = { rdma: { type: 'boolean' }, json: { type: 'boolean' }, help: { type: 'boolean' } } as const;

function indented(text: string): string {
  return text.trim().replace(/^/gm, '    ');
}

function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    console.log(`  ${cells.join('   ')}`);
  }
}

function cellsOf(transfer: Transfer): string[] {
  const { name, files, bytes, seconds, digestsEqual, copiesPerByte, eventLoopDelayP99Ms } = transfer;
  return [
    name,
    String(files),
    String(bytes),
    seconds.toFixed(3),
    (bytes / seconds / 1e9).toFixed(3),
    digestsEqual ? 'equal' : 'DIFFERENT',
    copiesPerByte.toFixed(2),
    `${eventLoopDelayP99Ms.toFixed(1)} ms`,
  ];
}

function sentencesOf(watched: Watched): string {
  const { frames, equal, bytes, transport, copiesPerByte, recorded, brightness, moved } = watched;
  const where =
    moved === undefined ? 'nothing moved' : `something moved within ${moved.width} x ${moved.height} pixels`;
  return (
    `On the other host an analysis service subscribed to the camera and looked at ${frames} frames, ${bytes} bytes over\n` +
    `${transport}: ${equal} have the SHA-256 that the camera computed, and each byte was copied ${copiesPerByte.toFixed(2)} times in user\n` +
    `space. On the last one the brightness is ${brightness.toFixed(1)} of 255, and ${where}.\n` +
    `It handed ${recorded} of them to a recorder service beside it, which stored them as PNG files.`
  );
}

/** Shows events to people, as they come. */
function narrator({ separate, emulated }: Hosts['parts']): (event: DemoEvent) => void {
  const rows = [['', 'files', 'bytes', 'seconds', 'GB/s', 'digests', 'copies/byte', 'loop delay p99']];
  return ({ hosts, message, watched, moved, transfer, result }) => {
    if (hosts !== undefined) {
      console.log(`Two hosts: ${hosts.description}.`);
      if (separate) {
        console.log(
          'Both sides say that insecure connections are allowed: nothing protects bytes between hosts in this version,\n' +
            'and these addresses are not loopback.',
        );
      }
    } else if (message !== undefined) {
      console.log(
        '\nEach runs the services of a manifest in examples/camera. On one is a camera, and it was asked for a frame.\n' +
          'The control plane: its answer, as it came over the wire.\n',
      );
      console.log(indented(message.envelope));
      console.log(
        `\nThe data plane: its tag resolved, and ${message.bytes} bytes moved beside that message in ${message.ms.toFixed(2)} ms,\n` +
          `over ${message.transport}, into registered memory here. SHA-256 ${message.sha256.slice(0, 16)}...`,
      );
      for (const carrier of message.carriers) console.log(`Carried by ${carrier}.`);
    } else if (watched !== undefined) {
      console.log(`\n${sentencesOf(watched)}`);
      if (emulated) {
        console.log(
          '\nProcessors of the laboratory are emulated, so parts of node and of this project move, for a minute or so:',
        );
      }
    } else if (moved !== undefined) {
      if (emulated) console.log(`  ${moved.name}: ${moved.bytes} bytes`);
    } else if (transfer !== undefined) rows.push(cellsOf(transfer));
    else if (result !== undefined) {
      console.log(
        '\nWhat moved, each file compared with its source byte by byte through SHA-256, and fsynced:\n',
      );
      printTable(rows);
      console.log(
        '\nThe time includes SHA-256 at both ends and fsync; the delay contains the 1 ms between two looks; copies are those\n' +
          'that the two processes make.',
      );
      if (emulated) {
        console.log('It shows that this works. How fast it is shows only where processors are not emulated.');
      }
      if (!result.ok)
        console.error('\nA digest differs, or a transfer took another way than it should have.');
    }
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help === true) {
    console.log(USAGE);
    return;
  }
  if (values.rdma === true && values.json !== true) console.log('Starting the hosts.');
  const hosts = values.rdma === true ? await openLaboratory() : makeHosts();
  let interrupted = false;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => {
      interrupted = true;
      void hosts.close().finally(() => process.exit(code));
    });
  }
  const show =
    values.json === true
      ? (event: DemoEvent): void => console.log(JSON.stringify(event))
      : narrator(hosts.parts);
  try {
    const { ok } = await demonstrate(hosts, show);
    process.exitCode = ok ? 0 : 1;
  } catch (error) {
    // What was interrupted ends with errors that nobody made.
    if (!interrupted) throw error;
  } finally {
    await hosts.close();
  }
}

try {
  await main();
} catch (error) {
  const usage = (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
  console.error(usage ? `${(error as Error).message}\n${USAGE}` : error);
  process.exitCode = usage ? 2 : 1;
}
