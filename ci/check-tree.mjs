// Looks for what must not land in the repository: work left open, tests left out, paths and hosts of somebody's
// machine, and source files that do not say at their top what they own. Files that have grown long are named but
// are no failure: length asks for a thought, not for a cut.

import { projectFiles, readLines, report } from './files.mjs';
import { main } from './process.mjs';

const linesMax = 500;

const sources = /\.(ts|mjs|cc|c|h)$/;
// Texts that are not ours, or not text.
const foreign = /^(LICENSE|package-lock\.json)$|\.(png|svg|bin|node)$|^test\/fuzz\/corpus\//;

// `files` narrows a rule; without it the rule holds everywhere.
const rules = [
  {
    pattern: /\b(TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b/,
    says: 'work left open: finish it, or say in a sentence what is and why',
  },
  {
    pattern: /(?<![\w.\-~/])\/(home|root|work|Users)\/\w/,
    says: 'a path of one machine: derive it, or use os.tmpdir()',
  },
  {
    pattern: /https?:\/\/[\w.-]*\b(registry|proxy|artifactory|nexus|verdaccio)\b[\w.-]*/i,
    says: 'a registry host: installing must follow the configuration of whoever installs',
  },
  {
    files: sources,
    pattern: /\b(test|it|describe|suite)(\.\w+)*\.(only|skip|todo|skipIf|runIf)\s*[(`.]/,
    says: 'a test left out or alone: what cannot run calls context.skip(reason), which prints the reason',
  },
  {
    files: /\.cc$/,
    pattern: /\bDISABLED_\w|GTEST_SKIP\(\)\s*;/,
    says: 'a test left out without a reason: GTEST_SKIP() << "reason"',
  },
];

function checkFile(file) {
  const lines = readLines(file);
  const problems = [];
  lines.forEach((line, index) => {
    for (const { files, pattern, says } of rules) {
      if (files && !files.test(file)) continue;
      const hit = pattern.exec(line);
      if (hit) problems.push(`${file}:${index + 1}: "${hit[0]}": ${says}`);
    }
  });
  if (sources.test(file)) {
    const first = lines[0]?.startsWith('#!') ? lines[1] : lines[0];
    if (!/^(\/\/|\/\*)/.test(first ?? '')) {
      problems.push(`${file}:1: open the file with what it owns and what it must not know`);
    }
  }
  return problems;
}

await main(() => {
  const files = projectFiles().filter((file) => !foreign.test(file));
  for (const file of files.filter((name) => sources.test(name))) {
    const count = readLines(file).length - 1;
    if (count > linesMax)
      console.log(`note: ${file} has ${count} lines (${linesMax} asks whether it is one thing)`);
  }
  report(files.flatMap(checkFile), 'things that must not land');
});
