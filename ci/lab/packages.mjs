// Names the Debian packages that the laboratory is made of. ci/setup.mjs installs them with the rest; the laboratory
// asks for them again when it starts, since it can be the first thing that somebody runs.

/** The machine and what builds its boot image. */
export const machinePackages = ['qemu-system-x86', 'busybox-static', 'cpio', 'kmod', 'xz-utils'];

/** What runs in the guests, which see the host's files: verbs and its tools, the reference figures, addresses. */
export const guestPackages = [
  'rdma-core',
  'ibverbs-providers',
  'libibverbs-dev',
  'librdmacm-dev',
  'ibverbs-utils',
  'rdmacm-utils',
  'perftest',
  'iproute2',
];
