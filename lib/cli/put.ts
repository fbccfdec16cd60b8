// `splitplane put FILE… HOST:PATH`: files and directories to a serving host.
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { Command } from 'commander';
import { Client } from './client.js';
import { Failure, withPath } from '../runtime/failure.js';
import { UsageError, type ExitCode } from './failure.js';
import { FileClient } from './files/client.js';
import { Hashes } from '../runtime/services/files/hashes.js';
import { FoundFile, kindOf } from '../runtime/services/files/root.js';
import { walk, type LocalEntry } from './files/tree.js';
import { interruptible, parsePlace, type Interruption, type RemotePlace } from './options.js';
import { note } from './terminal.js';
import {
  addTransferOptions,
  FoundEntries,
  joined,
  TRANSFER_HELP,
  Transfers,
  type Job,
  type TransferCommandOptions,
} from './transfer.js';

const HELP = `
PATH is below the root that the host serves; HOST:. is the root. As with cp, what is put goes into PATH when that
is a directory, is written with a slash at its end, or there are several; otherwise it is called PATH.
A directory is transferred with everything in it.
${TRANSFER_HELP}

Examples:
  splitplane put model.bin 127.0.0.1:.
  splitplane put ./results notes.txt 127.0.0.1:7350:incoming/
  splitplane put --json disk.img unix:/run/splitplane.sock:backup/disk-1.img`;

export function putCommand(): Command {
  const command = new Command('put')
    .description('copy files and directories to a host')
    .usage('[options] <file...> <host:path>')
    .argument('<places...>', 'what to copy, then HOST:PATH: where to');
  return addTransferOptions(command).addHelpText('after', HELP).action(put);
}

async function put(places: string[], options: TransferCommandOptions): Promise<void> {
  const sources = places.slice(0, -1);
  const last = places.at(-1);
  if (last === undefined || sources.length === 0)
    throw new UsageError('It takes FILE, one or more, and then HOST:PATH.');
  const target = parsePlace(last);
  await interruptible(options.json, async (_, interruption) => {
    process.exitCode = await putAll(sources, target, options, interruption);
  });
}

async function putAll(
  sources: readonly string[],
  target: RemotePlace,
  options: TransferCommandOptions,
  interruption: Interruption,
): Promise<ExitCode> {
  const { signal } = interruption;
  using client = await Client.connect(target.address, options, signal);
  await using hashes = new Hashes();
  const files = new FileClient(client, hashes);
  const transfers = new Transfers(client, options.json, interruption);
  const intoDirectory = sources.length > 1 || (await isDirectory(files, target, signal));
  const collection = new Collection(files, transfers, signal);
  for (const source of sources) {
    const to = intoDirectory ? joined(target.path, basename(resolve(source))) : target.path;
    await collection.add(source, to).catch((error: unknown) => {
      transfers.fail(source, error);
    });
  }
  const verify = options.checksum;
  const sentBefore = sentBytes(client);
  const exitCode = await transfers.run(
    collection.jobs,
    async ({ path, to }, onBytes) => {
      await using file = await FoundFile.local(path);
      return await files.put(file, to, { verify, signal, onBytes });
    },
    () => sentBytes(client) - sentBefore,
  );
  await client.close();
  return exitCode;
}

async function isDirectory(files: FileClient, target: RemotePlace, signal: AbortSignal): Promise<boolean> {
  return target.isDirectory || (await files.stat(target.path, signal))?.kind === 'directory';
}

/** The peer reads, so only the transport knows how far it is. */
function sentBytes({ manager }: Client): number {
  return Object.values(manager.stats.transports).reduce((sum, { bytesSent }) => sum + bytesSent, 0);
}

/** Finds what there is to put, and has the peer make the directories for it. */
class Collection {
  readonly jobs: Job[] = [];
  readonly #files: FileClient;
  readonly #transfers: Transfers;
  readonly #signal: AbortSignal;
  readonly #found = new FoundEntries();

  constructor(files: FileClient, transfers: Transfers, signal: AbortSignal) {
    this.#files = files;
    this.#transfers = transfers;
    this.#signal = signal;
  }

  async add(source: string, to: string): Promise<void> {
    const facts = await withPath(source, () => stat(source));
    const kind = kindOf(facts);
    if (kind === 'other')
      throw new Failure('INVALID_ARGUMENT', `${source} is neither file nor directory. Name one.`, {
        path: source,
      });
    if (kind === 'file') {
      this.#addFile(source, to, facts.size);
      return;
    }
    if (to !== '') await this.#files.makeDirectory(to, this.#signal);
    const leaveOut = (place: string, error: unknown): void => {
      this.#transfers.leaveOut(place, error);
    };
    for await (const entry of walk(source, leaveOut)) {
      await this.#addEntry(entry, to).catch((error: unknown) => {
        leaveOut(entry.place, error);
      });
    }
  }

  async #addEntry({ kind, path, place }: LocalEntry, below: string): Promise<void> {
    const to = joined(below, path);
    if (kind === 'directory') await this.#makeDirectory(to);
    else if (kind === 'file') this.#addFile(place, to, (await withPath(place, () => stat(place))).size);
    else note(`${place} is left out: it is neither file nor directory.`);
  }

  async #makeDirectory(path: string): Promise<void> {
    this.#found.addDirectory();
    await this.#files.makeDirectory(path, this.#signal);
  }

  #addFile(path: string, to: string, size: number): void {
    this.#found.addFile(to);
    this.jobs.push({ path, to, size });
  }
}
