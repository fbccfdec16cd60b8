// Writes what a shell reads: quoted words, and the script that a guest runs for a command. It knows nothing of guests.

/** `text` as one word of a shell, whatever is in it. */
export const quote = (text) => `'${String(text).replaceAll("'", `'\\''`)}'`;

// What a shell accepts as a variable's name; an environment may hold others, exported functions for instance.
const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * A script that runs the shell text `command` with an environment and a working directory, and, if asked for, as
 * another user and with a limit on locked memory that holds for root too, because the right to exceed it is dropped.
 */
export function commandScript(command, { cwd, env, user, memlockBytes }) {
  const lines = Object.entries(env)
    .filter(([name]) => variableName.test(name))
    .map(([name, value]) => `export ${name}=${quote(value)}`);
  lines.push(`cd ${quote(cwd)} || exit 126`);
  const words = ['exec'];
  if (memlockBytes !== undefined) words.push('prlimit', `--memlock=${memlockBytes}:${memlockBytes}`);
  if (user !== undefined || memlockBytes !== undefined) words.push('setpriv');
  if (memlockBytes !== undefined) words.push('--bounding-set=-ipc_lock', '--inh-caps=-ipc_lock');
  // A user's group may have another name than the user.
  if (user !== undefined) {
    words.push(`--reuid=${quote(user)}`, `--regid="$(id -g ${quote(user)})"`, '--init-groups');
  }
  words.push('/bin/sh', '-c', quote(command));
  return `${lines.join('\n')}\n${words.join(' ')}\n`;
}
