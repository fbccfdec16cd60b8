// `splitplane get HOST:PATH… DIR`: files and directories from a serving host.
import { mkdir } from 'node:fs/promises';
import { Command } from 'commander';
import { Client } from './client.js';
import { Failure, withPath } from '../runtime/failure.js';
import { printableLine } from '../runtime/printable.js';
import { UsageError, type ExitCode } from './failure.js';
import { alone } from './files/alone.js';
import { FileClient, type RemoteEntry } from './files/client.js';
import { Hashes } from '../runtime/services/files/hashes.js';
import { Root } from '../runtime/services/files/root.js';
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
PATH is below the root that the host serves; HOST:. is all of it. DIR is made when it is not there.
A directory is transferred with everything in it.
${TRANSFER_HELP}

Examples:
  splitplane get 127.0.0.1:model.bin .
  splitplane get 127.0.0.1:7350:results/run-7 tcp://127.0.0.1:7350/notes.txt ./here
  splitplane get --json unix:/run/splitplane.sock:. ./copy`;

interface GetJob extends Job {
  readonly remote: string;
  /** Below DIR: the directory, and the name in it. */
  readonly above: string;
  readonly name: string;
}

export function getCommand(): Command {
  const command = new Command('get')
    .description('copy files and directories from a host')
    .usage('[options] <host:path...> <dir>')
    .argument('<places...>', 'HOST:PATH of what to copy, all from one host, then DIR: where to');
  return addTransferOptions(command).addHelpText('after', HELP).action(get);
}

async function get(places: string[], options: TransferCommandOptions): Promise<void> {
  const target = places.at(-1);
  const sources = places.slice(0, -1).map(parsePlace);
  const [first] = sources;
  if (first === undefined || target === undefined)
    throw new UsageError('It takes HOST:PATH, one or more, and then DIR.');
  if (sources.some(({ address }) => address !== first.address))
    throw new UsageError('These places are on several hosts. Get from one host at a time.');
  const { address } = first;
  await interruptible(options.json, async (_, interruption) => {
    process.exitCode = await getAll(address, sources, target, options, interruption);
  });
}

async function getAll(
  address: string,
  sources: readonly RemotePlace[],
  target: string,
  options: TransferCommandOptions,
  interruption: Interruption,
): Promise<ExitCode> {
  const { signal } = interruption;
  using client = await Client.connect(address, options, signal);
  await withPath(target, () => mkdir(target, { recursive: true }));
  await using root = await Root.open(target);
  await using hashes = new Hashes();
  const files = new FileClient(client, hashes);
  const transfers = new Transfers(client, options.json, interruption);
  const collection = new Collection(files, root, transfers, signal);
  for (const source of sources) {
    await collection.add(source).catch((error: unknown) => {
      transfers.fail(source.path || '.', error);
    });
  }
  const verify = options.checksum;
  const exitCode = await transfers.run(collection.jobs, async ({ remote, above, name }, onBytes) => {
    await using directory = await root.directory(above);
    return await alone(directory, name, () =>
      files.get(remote, directory, name, { verify, signal, onBytes }),
    );
  });
  await client.close();
  return exitCode;
}

/** Finds what there is to get, and makes the directories for it. */
class Collection {
  readonly jobs: GetJob[] = [];
  readonly #files: FileClient;
  readonly #root: Root;
  readonly #transfers: Transfers;
  readonly #signal: AbortSignal;
  readonly #found = new FoundEntries();

  constructor(files: FileClient, root: Root, transfers: Transfers, signal: AbortSignal) {
    this.#files = files;
    this.#root = root;
    this.#transfers = transfers;
    this.#signal = signal;
  }

  async add({ path }: RemotePlace): Promise<void> {
    const found = await this.#files.stat(path, this.#signal);
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (found?.kind === 'directory') await this.#addDirectory(path, name);
    else if (found?.kind === 'file') this.#addFile(path, '', name, found.size);
    else if (found === undefined)
      throw new Failure('SYSTEM', `${path}: There is no such file or directory. Check the path.`, {
        errno: 'ENOENT',
        path,
      });
    else throw new Failure('INVALID_ARGUMENT', `${path} is neither file nor directory. Name one.`, { path });
  }

  async #addDirectory(remote: string, local: string): Promise<void> {
    this.#found.addDirectory();
    await (await this.#root.directory(local, { create: true }))[Symbol.asyncDispose]();
    for await (const entry of this.#files.list(remote, this.#signal)) {
      const path = joined(remote, entry.name);
      await this.#addEntry(path, local, entry).catch((error: unknown) => {
        this.#transfers.leaveOut(path, error);
      });
    }
  }

  async #addEntry(path: string, local: string, { name, kind, size }: RemoteEntry): Promise<void> {
    if (kind === 'file') this.#addFile(path, local, name, size);
    else if (kind === 'directory') await this.#addDirectory(path, joined(local, name));
    else note(`${printableLine(path)} is left out: it is neither file nor directory.`);
  }

  #addFile(remote: string, above: string, name: string, size: number): void {
    const to = joined(above, name);
    this.#found.addFile(to);
    this.jobs.push({ path: remote, to, remote, above, name, size });
  }
}
