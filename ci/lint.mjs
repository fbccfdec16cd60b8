// What `npm run lint` runs: eslint and, beside it since it takes as long as all of them and keeps one core busy, the
// other checks one after the other. It must not know what they look for.

import process from 'node:process';

import { ScriptError, main, run } from './process.mjs';

const node = (script, ...args) => run(process.execPath, [script, ...args]);

async function others() {
  await node('node_modules/prettier/bin/prettier.cjs', '--check', '.');
  for (const check of ['imports', 'tree', 'format-native']) await node(`ci/check-${check}.mjs`);
}

await main(async () => {
  const outcomes = await Promise.allSettled([node('node_modules/eslint/bin/eslint.js', '.'), others()]);
  const reasons = outcomes.flatMap(({ reason }) => (reason === undefined ? [] : [reason]));
  for (const reason of reasons) if (!(reason instanceof ScriptError)) throw reason;
  if (reasons.length > 0) throw new ScriptError(reasons.map(({ message }) => message).join('\n'));
});
