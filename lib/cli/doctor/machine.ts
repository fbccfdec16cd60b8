// How doctor looks at a machine: small files, directories, links and device nodes below a root, addresses, and the output of
// a few commands. Every look is bounded and answers undefined where others throw, because what is missing is what
// doctor is about. Knows nothing of RDMA, so that tests can give it a tree of files instead of a machine.
import { execFile } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { networkInterfaces } from 'node:os';
import { basename, join } from 'node:path';

/** Bytes read of one file: the longest that is read lists the modules of a kernel. */
const FILE_BYTES_MAX = 4 << 20;
/** Names read of one directory. */
const NAMES_MAX = 4096;
/** How long a command may take on a machine that is busy, and how much it may say. */
const COMMAND_MS = 10_000;
const COMMAND_BYTES_MAX = 8 << 20;

/** An address of a network device. */
export interface DeviceAddress {
  readonly device: string;
  /** Without a scope. */
  readonly address: string;
  readonly prefixLength: number;
}

export interface MachineOptions {
  /** What stands for `/`. */
  readonly root?: string;
  readonly addresses?: () => readonly DeviceAddress[];
  /** The errno of opening a device node to read and write; undefined when it opens. */
  readonly openError?: (path: string) => string | undefined;
  /** Standard output of a command; undefined when it cannot be run, or fails. */
  readonly run?: (command: string, args: readonly string[]) => Promise<string | undefined>;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** Making one takes longer than sorting a directory. */
const byNumber = new Intl.Collator('en', { numeric: true }).compare;
/** Read into by turns: tables of sysfs are thousands of small files. */
const chunk = Buffer.alloc(1 << 16);

export class Machine {
  readonly addresses: () => readonly DeviceAddress[];
  readonly run: (command: string, args: readonly string[]) => Promise<string | undefined>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly #root: string;
  readonly #openError: (path: string) => string | undefined;

  constructor(options: MachineOptions = {}) {
    const {
      root = '/',
      addresses = addressesOfSystem,
      openError = openErrorOf,
      run = runCommand,
      environment = process.env,
    } = options;
    this.#root = root;
    this.#openError = openError;
    this.addresses = addresses;
    this.run = run;
    this.environment = environment;
  }

  /** The text of a regular file, without white space around it. */
  read(path: string): string | undefined {
    let fd: number | undefined;
    try {
      // Not blocking: whatever has this name may be a pipe.
      fd = openSync(join(this.#root, path), constants.O_RDONLY | constants.O_NONBLOCK);
      if (!fstatSync(fd).isFile()) return undefined;
      return readAll(fd).trim();
    } catch {
      return undefined;
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  }

  /** Names in a directory, numbers in their order; none when there is no such directory. */
  list(path: string): string[] {
    try {
      const names = readdirSync(join(this.#root, path)).slice(0, NAMES_MAX);
      return names.sort(byNumber);
    } catch {
      return [];
    }
  }

  exists(path: string): boolean {
    return existsSync(join(this.#root, path));
  }

  /** The last name of what a symbolic link points at. */
  link(path: string): string | undefined {
    try {
      return basename(readlinkSync(join(this.#root, path)));
    } catch {
      return undefined;
    }
  }

  /** Opens a device node, because in a container only that shows whether it may be used: the errno, if it may not. */
  openError(path: string): string | undefined {
    return this.#openError(join(this.#root, path));
  }
}

/** Files of procfs and sysfs do not tell their length. */
function readAll(fd: number): string {
  const parts: Buffer[] = [];
  let bytes = 0;
  while (bytes < FILE_BYTES_MAX) {
    const count = readSync(fd, chunk, 0, Math.min(chunk.length, FILE_BYTES_MAX - bytes), null);
    if (count === 0) break;
    parts.push(Buffer.from(chunk.subarray(0, count)));
    bytes += count;
  }
  return Buffer.concat(parts).toString('utf8');
}

function openErrorOf(path: string): string | undefined {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EIO';
  }
}

function addressesOfSystem(): DeviceAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([device, infos = []]) =>
    infos.map(({ address, cidr }) => ({
      device,
      address,
      prefixLength: Number(cidr?.split('/')[1] ?? (address.includes(':') ? 128 : 32)),
    })),
  );
}

function runCommand(command: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = {
      timeout: COMMAND_MS,
      maxBuffer: COMMAND_BYTES_MAX,
      // Tools of administrators are not on the path of every user.
      env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' },
    };
    execFile(command, args, options, (error, stdout) => {
      resolve(error === null ? stdout : undefined);
    });
  });
}
