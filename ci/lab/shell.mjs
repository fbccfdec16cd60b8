// An interactive shell on a host of the laboratory, while the other host runs too: npm run lab:shell [-- --host b].

import process from 'node:process';
import { parseArgs } from 'node:util';

import { ScriptError, main } from '../process.mjs';
import { Lab } from './lab.mjs';

const usage = 'usage: npm run lab:shell -- [--host a|b] [--single]';

// The terminal is a device of its own, not the console. The script that opens it leads a session without one, so it
// becomes the controlling terminal and Ctrl-C works.
function shellCommand() {
  const size = process.stdout.isTTY ? `rows ${process.stdout.rows} cols ${process.stdout.columns}` : '-echo';
  return `exec </dev/hvc0 >/dev/hvc0 2>&1; stty sane ${size}; exec bash -i`;
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: { host: { type: 'string', default: 'a' }, single: { type: 'boolean', default: false } },
    });
    if (values.host !== 'a' && (values.host !== 'b' || values.single))
      throw new Error(`no host ${values.host}`);
    return values;
  } catch (error) {
    throw new ScriptError(`${error.message}\n${usage}`);
  }
}

await main(async () => {
  const { host, single } = readArguments();
  const lab = await Lab.start({ single, terminal: host });
  try {
    const terminal = lab.terminal(host);
    terminal.pipe(process.stdout);
    if (process.stdin.isTTY) process.stdin.setRawMode(true);
    process.stdin.pipe(terminal, { end: false });
    const { code } = await lab.run(host, shellCommand(), { env: process.env, cwd: process.cwd() });
    process.exitCode = code ?? 1;
  } finally {
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
    process.stdin.destroy();
    await lab.stop();
  }
});
