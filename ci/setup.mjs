// Installs what building, testing and measuring need beyond Node: Debian 12 packages. As root it does so by
// itself and asks nothing; otherwise it prints the command to type and fails. Quiet when nothing is missing.

import { ensurePackages } from './debian.mjs';
import { guestPackages, machinePackages } from './lab/packages.mjs';
import { main } from './process.mjs';

const packages = [
  // the build of the addon
  'g++',
  'make',
  'python3',
  // the native tests, their fuzz targets and the formatter
  'cmake',
  'libgtest-dev',
  'libgmock-dev',
  'clang',
  'libclang-rt-14-dev',
  'clang-format',
  // hosts made of network namespaces, lossy links, and a look at processes
  'nftables',
  'procps',
  // the peers that the benchmark measures
  'iperf3',
  'ucx-utils',
  'libfabric-bin',
  // the outside judge of manifests, policies and their schemas
  'libxml2-utils',
  // the browser that the tests of web pages open
  'chromium',
  // the outside implementation of Fast Infoset, and what compiles and runs the program that drives it
  'libfastinfoset-java',
  'default-jdk-headless',
  // the laboratory of two soft-RoCE hosts, and the headers that native/rdma is built with
  ...machinePackages,
  ...guestPackages,
];

await main(() => ensurePackages(packages));
