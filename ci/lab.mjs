// Runs commands in the laboratory of two soft-RoCE hosts (docs/RDMA.md):
//
//   npm run lab -- [options] COMMAND            on both hosts, or on the only one with --single
//   npm run lab -- [options] --a 'X' --b 'Y'    a different one on each
//
// Output comes as it is written, with the host's name before each line. The exit code is 0 if all commands ended with
// 0, and otherwise the first other one.

import process from 'node:process';
import { parseArgs } from 'node:util';

import { Lab } from './lab/lab.mjs';
import { quote } from './lab/shell-text.mjs';
import { ScriptError, main } from './process.mjs';

const usage = `usage: npm run lab -- [options] COMMAND [ARGUMENT...]
       npm run lab -- [options] --a COMMAND --b COMMAND
  --single            one host with one device instead of two
  --timeout SECONDS   end the commands after this time
  --user NAME         run them as this user
  --memlock BYTES     limit the memory they may lock, also for root
  --cpus NUMBER       processors of each host`;

const options = {
  single: { type: 'boolean' },
  a: { type: 'string' },
  b: { type: 'string' },
  timeout: { type: 'string' },
  user: { type: 'string' },
  memlock: { type: 'string' },
  cpus: { type: 'string' },
};

function number(values, name) {
  if (values[name] === undefined) return undefined;
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value) || value <= 0) throw new ScriptError(`--${name} takes a positive number`);
  return value;
}

/** What to run where: { single, cpus, commands: { a, b }, options of a command }. */
function readArguments(args) {
  // Everything from the first word that is no option belongs to the command.
  const { tokens } = parseArgs({ args, options, strict: false, allowPositionals: true, tokens: true });
  const first = tokens.find((token) => token.kind === 'positional')?.index ?? args.length;
  let values;
  try {
    ({ values } = parseArgs({ args: args.slice(0, first), options }));
  } catch (error) {
    throw new ScriptError(`${error.message}\n${usage}`);
  }
  const words = args.slice(first);
  // One word is a line for a shell, as after `sh -c`; several are taken as they are.
  const both = words.length > 1 ? words.map(quote).join(' ') : words[0];
  const commands = { a: values.a ?? both, b: values.single ? undefined : (values.b ?? both) };
  const named = Object.entries(commands).filter(([, command]) => command !== undefined);
  if (named.length === 0) throw new ScriptError(usage);
  const seconds = number(values, 'timeout');
  return {
    lab: { single: values.single ?? false, ...(values.cpus && { cpus: number(values, 'cpus') }) },
    commands: named,
    job: {
      env: process.env,
      cwd: process.cwd(),
      user: values.user,
      memlockBytes: number(values, 'memlock'),
      timeoutMs: seconds === undefined ? undefined : seconds * 1000,
    },
  };
}

/** Writes what a job prints as it comes, whole lines only, each after the host's name. */
function show(job, host) {
  const rest = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    job.on(stream, (text) => {
      const lines = (rest[stream] + text).split('\n');
      rest[stream] = lines.pop();
      for (const line of lines) process[stream].write(`${host}| ${line}\n`);
    });
  }
  return () => {
    for (const stream of ['stdout', 'stderr']) {
      if (rest[stream] !== '') process[stream].write(`${host}| ${rest[stream]}\n`);
    }
  };
}

async function runOne(lab, host, command, jobOptions) {
  const job = lab.spawn(host, command, jobOptions);
  const flush = show(job, host);
  try {
    const { code, signal } = await job.result;
    flush();
    if (code !== 0) console.error(`${host}| ended with ${signal ?? code}`);
    return code ?? 1;
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    flush();
    console.error(error.message);
    return 1;
  }
}

await main(async () => {
  const wanted = readArguments(process.argv.slice(2));
  const lab = await Lab.start(wanted.lab);
  try {
    const codes = await Promise.all(
      wanted.commands.map(([host, command]) => runOne(lab, host, command, wanted.job)),
    );
    process.exitCode = codes.find((code) => code !== 0) ?? 0;
  } finally {
    await lab.stop();
  }
});
