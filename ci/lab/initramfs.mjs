// Makes the guests' boot image: busybox, the kernel modules in the order in which they have to be inserted, and
// ci/lab/guest/init.sh. It is kept in the cache under a name made from everything that goes into it, so a change of
// any of that makes a new one.

import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { root } from '../process.mjs';
import { buildDirectory, must } from './kernel.mjs';

const busybox = '/bin/busybox';
const initScript = path.join(root, 'ci/lab/guest/init.sh');

// rxe needs crc32_generic and does not say so: without it, adding a link fails with "No such file or directory".
const modules = [
  'virtio_pci',
  'virtio_console',
  'virtio_net',
  '9pnet_virtio',
  '9p',
  'overlay',
  'i6300esb',
  'crc32_generic',
  'rdma_rxe',
  'ib_uverbs',
  'rdma_ucm',
];

/** The files of the modules and of what they depend on, in the order of insertion. */
function moduleFiles(kernel) {
  const shown = modules.map((name) =>
    must('modprobe', ['-d', kernel.modules, '-S', kernel.version, '--show-depends', name]),
  );
  const files = shown.flatMap((text) => [...text.matchAll(/^insmod (\S+)/gm)].map(([, file]) => file));
  return [...new Set(files)];
}

function build(directory, files, target) {
  const tree = path.join(directory, 'tree');
  for (const folder of ['bin', 'modules', 'proc', 'sys', 'dev', 'lab', 'host', 'overlay', 'guest']) {
    mkdirSync(path.join(tree, folder), { recursive: true });
  }
  copyFileSync(busybox, path.join(tree, 'bin/busybox'));
  copyFileSync(initScript, path.join(tree, 'init'));
  chmodSync(path.join(tree, 'init'), 0o755);
  for (const file of files) copyFileSync(file, path.join(tree, 'modules', path.basename(file)));
  writeFileSync(path.join(tree, 'modules/order'), files.map((file) => `${path.basename(file)}\n`).join(''));
  must('sh', ['-c', 'find . | cpio --quiet -o -H newc > "$0"', target], { cwd: tree });
  rmSync(tree, { recursive: true });
}

/** The path of the boot image for `kernel`, made first if it is not in `cache`. */
export function ensureInitramfs(cache, kernel) {
  const files = moduleFiles(kernel);
  const hash = createHash('sha256').update(files.join('\n'));
  for (const file of [busybox, initScript]) hash.update(readFileSync(file));
  const directory = path.join(cache, `initramfs-${hash.digest('hex').slice(0, 16)}`);
  const image = 'initramfs.cpio';
  if (!existsSync(directory)) {
    buildDirectory(directory, (part) => build(part, files, path.join(part, image)));
  }
  return path.join(directory, image);
}
