// Gets the guests' kernel: downloads the package that Debian's linux-image-amd64 depends on, unpacks it into the cache
// and never installs it. A kernel that is in the cache stays in use until somebody removes the cache, so that results
// of two days can be compared. Two runs may do this at once: each works in a directory of its own and renames it.

import { Buffer } from 'node:buffer';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

import { ScriptError, capture } from '../process.mjs';

const metaPackage = 'linux-image-amd64';

// Where a bzImage says what it holds (Linux x86 boot protocol, "The Real-Mode Kernel Header").
const setupSectorsOffset = 0x1f1;
const sectorBytes = 512;
const payloadOffsetOffset = 0x248;
const payloadLengthOffset = 0x24c;
// The build appends the unpacked size to the compressed kernel.
const payloadTrailerBytes = 4;
const kernelBytesMax = 512 * 1024 * 1024;

/** Runs a program that must succeed and gives back what it printed. */
export function must(command, args, options) {
  const result = capture(command, args, options);
  if (result.status !== 0) {
    throw new ScriptError(`${command} ${args.join(' ')} failed:\n${result.stdout}${result.stderr}`);
  }
  return result.stdout;
}

/** Moves a finished directory to its place; when another run was faster, its result is as good as this one. */
function publish(from, to) {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
  }
}

/** Runs `build(directory)` in a new directory and moves it to `target`, complete or not at all. */
export function buildDirectory(target, build) {
  mkdirSync(path.dirname(target), { recursive: true });
  const directory = mkdtempSync(`${target}.part-`);
  try {
    build(directory);
    publish(directory, target);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function packageName() {
  const find = () =>
    /^\s*Depends: (linux-image-\S+)/m.exec(capture('apt-cache', ['depends', metaPackage]).stdout);
  // A machine without package lists has to fetch them once.
  const found = find() ?? (must('apt-get', ['-qq', 'update']), find());
  if (!found)
    throw new ScriptError(
      `apt-cache knows no ${metaPackage}: the laboratory needs Debian's kernel for amd64`,
    );
  return found[1];
}

/** The downloaded package, from the cache if it is there. */
function kernelPackage(cache) {
  const downloads = path.join(cache, 'package');
  if (!existsSync(downloads)) {
    const name = packageName();
    console.log(`laboratory: downloading ${name}`);
    buildDirectory(downloads, (directory) => must('apt-get', ['-qq', 'download', name], { cwd: directory }));
  }
  const file = readdirSync(downloads).find((entry) => entry.endsWith('.deb'));
  if (!file) throw new ScriptError(`${downloads} holds no package: remove it and try again`);
  return path.join(downloads, file);
}

/**
 * Unpacks the kernel that a bzImage carries. A guest would do that itself at every start, and an emulated processor takes
 * seconds for it; qemu starts the unpacked one directly (PVH).
 */
function unpackImage(compressed, unpacked) {
  const image = readFileSync(compressed);
  const start = (image[setupSectorsOffset] + 1) * sectorBytes + image.readUInt32LE(payloadOffsetOffset);
  const length = image.readUInt32LE(payloadLengthOffset) - payloadTrailerBytes;
  const input = image.subarray(start, start + length);
  const { status, stdout, stderr } = spawnSync('xz', ['-dc'], { input, maxBuffer: kernelBytesMax });
  if (status !== 0)
    throw new ScriptError(`cannot unpack ${compressed}: ${Buffer.from(stderr ?? '').toString()}`);
  writeFileSync(unpacked, stdout);
}

/**
 * The kernel in `cache`, fetched first if it is not there: { version, image, modules }, where `modules` is the tree for
 * modprobe -d.
 */
export function ensureKernel(cache) {
  const file = kernelPackage(cache);
  const modules = path.join(cache, `kernel-${path.basename(file, '.deb').replaceAll('%', '-')}`);
  if (!existsSync(modules)) {
    console.log(`laboratory: unpacking ${path.basename(file)}`);
    buildDirectory(modules, (directory) => {
      must('dpkg', ['-x', file, directory]);
      const [version] = readdirSync(path.join(directory, 'lib/modules'));
      must('depmod', ['-b', directory, version]);
      unpackImage(path.join(directory, `boot/vmlinuz-${version}`), path.join(directory, 'boot/vmlinux'));
    });
  }
  const [version] = readdirSync(path.join(modules, 'lib/modules'));
  return { version, modules, image: path.join(modules, 'boot/vmlinux') };
}
