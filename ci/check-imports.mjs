// Keeps the direction of imports: which native layer may include which, which TypeScript folder may import which,
// and which of them may know a foreign library at all. The tables below are the architecture; a new folder has to
// be put in its place here before anything in it can import anything. Docs: docs/ARCHITECTURE.md.

import { readFileSync } from 'node:fs';
import path from 'node:path';

import ts from 'typescript';

import { projectFiles, readLines, report } from './files.mjs';
import { main, root } from './process.mjs';

// Every layer may include itself and what is listed; no transport may include another.
const belowTransports = ['base', 'memory', 'transport'];
const nativeLayers = {
  base: [],
  memory: ['base'],
  transport: ['base', 'memory'],
  tcp: belowTransports,
  rdma: belowTransports,
  shm: belowTransports,
  protocol: belowTransports,
  addon: [...belowTransports, 'tcp', 'rdma', 'shm', 'protocol'],
};
// Tests and fuzzers outside native/ see every layer but the addon, which exists only inside Node.
const nativeForTests = Object.keys(nativeLayers).filter((layer) => layer !== 'addon');

// Headers by pattern, and the only layer that may include them.
const nativeForeign = [
  { header: /^(infiniband|rdma)\//, owner: 'rdma' },
  { header: /^(napi|uv|node_api|js_native_api|node|v8)\.h$/, owner: 'addon' },
];

const lib = ['errors', 'soap', 'serializer', 'dataplane', 'network', 'runtime', 'index', 'cli'].map(
  (n) => `lib/${n}`,
);
const below = (...names) => names.map((name) => `lib/${name}`);
// `lib/<name>` stands for the folder and for the file lib/<name>.ts.
const typescriptLayers = {
  'lib/errors': [],
  'lib/soap': below('errors'),
  'lib/serializer': below('soap', 'errors'),
  'lib/dataplane': below('errors'),
  'lib/network': below('serializer', 'soap', 'dataplane', 'errors'),
  'lib/runtime': below('network', 'serializer', 'soap', 'dataplane', 'errors'),
  'lib/index': below('runtime', 'network', 'serializer', 'soap', 'dataplane', 'errors'),
  'lib/cli': below('index', 'runtime', 'network', 'serializer', 'soap', 'dataplane', 'errors'),
  // The laboratory is what tests, the benchmark and the demo of RDMA have to run on.
  // An example is what a user would write: of the package it sees the entries and nothing behind them.
  examples: [...below('index', 'runtime'), 'ci'],
  bench: [...lib, 'ci'],
  test: [...lib, 'bench', 'examples', 'ci'],
};

// Packages a layer of lib/ may import; everything else outside node: is for tests and benchmarks.
const typescriptPackages = {
  'lib/serializer': ['saxes'],
  'lib/dataplane': ['node-gyp-build'],
  'lib/cli': ['commander', 'cli-progress'],
};

function checkNativeFile(file) {
  const [top, folder] = file.split('/');
  const layer = top === 'native' ? folder : undefined;
  if (layer !== undefined && !(layer in nativeLayers)) {
    return [`${file}:1: native/${layer} has no place among the layers: add it to ci/check-imports.mjs`];
  }
  const isTest = layer === undefined || file.endsWith('.test.cc');
  const allowed = layer === undefined ? nativeForTests : [layer, ...nativeLayers[layer]];
  const problems = [];
  readLines(file).forEach((line, index) => {
    const include = /^\s*#\s*include\s*([<"])([^>"]+)[>"]/.exec(line);
    if (!include) return;
    const [, quote, header] = include;
    const at = `${file}:${index + 1}:`;
    for (const { header: pattern, owner } of nativeForeign) {
      if (pattern.test(header) && layer !== owner) {
        problems.push(`${at} only native/${owner} may include <${header}>`);
      }
    }
    const target = /^native\/([^/]+)\//.exec(header)?.[1];
    if (target !== undefined) {
      if (!allowed.includes(target)) {
        const who = layer === undefined ? `${top}/` : `native/${layer}`;
        problems.push(`${at} ${who} may not include native/${target}; it may include ${allowed.join(', ')}`);
      }
    } else if (header.startsWith('test/')) {
      if (!isTest) problems.push(`${at} the product may not include test code`);
    } else if (quote === '"' && !(isTest && /^(gtest|gmock)\//.test(header))) {
      problems.push(
        `${at} write "${header}" from the repository root ("native/..."), or in <> if it is foreign`,
      );
    }
  });
  return problems;
}

function typescriptLayer(file) {
  const [top, name] = file.split('/');
  return top === 'lib' ? `lib/${name.replace(/\.ts$/, '')}` : top;
}

/** What package.json exports. */
const entries = ['lib/index.ts', 'lib/runtime/index.ts'];

function checkTypescriptFile(file) {
  const layer = typescriptLayer(file);
  const allowed = typescriptLayers[layer];
  if (allowed === undefined) {
    return [`${file}:1: ${layer} has no place among the layers: add it to ci/check-imports.mjs`];
  }
  const text = readFileSync(path.join(root, file), 'utf8');
  const problems = [];
  for (const { fileName: specifier, pos } of ts.preProcessFile(text).importedFiles) {
    const at = `${file}:${text.slice(0, pos).split('\n').length}:`;
    if (specifier.startsWith('node:')) continue;
    if (specifier.startsWith('.')) {
      const imported = path.posix.join(path.posix.dirname(file), specifier.replace(/\.js$/, '.ts'));
      const target = typescriptLayer(imported);
      if (layer === 'examples' && imported.startsWith('lib/') && !entries.includes(imported)) {
        problems.push(`${at} an example may import ${entries.join(' and ')} of lib/, and not ${imported}`);
      }
      if (target !== layer && !allowed.includes(target)) {
        problems.push(
          `${at} ${layer} may not import ${target}; it may import ${allowed.join(', ') || 'nothing'}`,
        );
      }
    } else if (layer.startsWith('lib/')) {
      const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
      if (!(typescriptPackages[layer] ?? []).includes(name)) {
        problems.push(
          `${at} ${layer} may not import the package ${specifier} (Node's own carry the prefix node:)`,
        );
      }
    }
  }
  return problems;
}

await main(() => {
  const native = projectFiles('native/*.h', 'native/*.cc', 'test/*.h', 'test/*.cc');
  const typescript = projectFiles('lib/*.ts', 'bench/*.ts', 'examples/*.ts', 'test/*.ts');
  report(
    [...native.flatMap(checkNativeFile), ...typescript.flatMap(checkTypescriptFile)],
    'imports against the direction of the layers',
  );
});
