// What several commands have in common on the command line: options, their checks, the places files come from and go to,
// and what Ctrl-C does. Knows commander, and no command.
import { setMaxListeners } from 'node:events';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { addon } from '../dataplane/native.js';
import { SplitplaneError } from '../errors.js';
import { parseAddress } from '../network/address.js';
import { EXIT, UsageError, type ExitCode } from './failure.js';
import { complain, readerGone } from './terminal.js';

export type Poll = 'event' | 'adaptive' | 'busy';

/** Options of every command that connects. */
export interface ConnectingOptions {
  readonly poll: Poll;
  /** The only one to use; left out: the best that works. */
  readonly transport?: string | undefined;
  readonly allowInsecure: boolean;
  readonly json: boolean;
}

export function pollOption(): Option {
  return new Option(
    '--poll <mode>',
    'how to wait for the network: event sleeps, adaptive polls first, busy polls',
  )
    .choices(['event', 'adaptive', 'busy'])
    .default('event');
}

export function transportOption(): Option {
  return new Option(
    '--transport <name>',
    'use this transport and no other; otherwise the best that works',
  ).choices(addon.transports);
}

export function jsonOption(what: string): Option {
  return new Option('--json', `${what}; failures as JSON on standard error`).default(false);
}

export function allowInsecureOption(): Option {
  return new Option(
    '--allow-insecure',
    'go beyond this host although nothing protects what is sent (both sides have to say so)',
  ).default(false);
}

/** Adds the options of ConnectingOptions. */
export function addConnectingOptions(command: Command, json: string): Command {
  return command
    .addOption(transportOption())
    .addOption(pollOption())
    .addOption(allowInsecureOption())
    .addOption(jsonOption(json));
}

/** A parser of whole numbers from `min` to `max`. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It is a whole number from ${min} to ${max}.`);
  };
}

/** A parser of bytes: a whole number, or one with k, M or G (powers of 1024). */
export function byteCount(min: number, max: number): (text: string) => number {
  return (text) => {
    const match = /^(\d+)([kMG]?)$/.exec(text);
    const scale = { '': 1, k: 1 << 10, M: 1 << 20, G: 1 << 30 }[match?.[2] ?? ''] ?? NaN;
    const value = Number(match?.[1] ?? NaN) * scale;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It is ${min} to ${max} bytes; k, M and G stand for powers of 1024.`);
  };
}

/** A parser of seconds. */
export function seconds(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d*\.?\d+$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It is ${min} to ${max} seconds.`);
  };
}

/** The address if it is one; a UsageError otherwise. */
export function checkAddress(text: string): string {
  try {
    parseAddress(text);
    return text;
  } catch (error) {
    if (error instanceof SplitplaneError) throw new UsageError(error.message);
    throw error;
  }
}

/** A place on a serving host. */
export interface RemotePlace {
  readonly address: string;
  /** Below the root that is served; '' is the root itself. */
  readonly path: string;
  /** It was written with a slash at its end: a directory is meant. */
  readonly isDirectory: boolean;
}

const PLACE_FORMS =
  'HOST:PATH, HOST:PORT:PATH, [IPV6]:PORT:PATH, tcp://HOST:PORT/PATH, rdma://HOST:PORT/PATH or unix:/SOCKET:PATH';

/**
 * Reads HOST:PATH. `HOST:7350` alone is refused, because it looks like a host without a path and would be a path without
 * a port.
 */
export function parsePlace(text: string): RemotePlace {
  const url = /^([a-z]+:\/\/(?:\[[^\]]*\]|[^:/[\]\s]+)(?::\d{1,5})?)\/(.*)$/s.exec(text);
  const unix = /^(unix:[^:]+):(.*)$/s.exec(text);
  const host = /^((?:\[[^\]]*\]|[^:/[\]\s]+)(?::\d{1,5}(?=:))?):(.*)$/s.exec(text);
  const match = text.startsWith('unix:') ? unix : (url ?? host);
  const [, address = '', path = ''] = match ?? [];
  if (match === null) {
    throw new UsageError(`${JSON.stringify(text)} names no place on a host. Write ${PLACE_FORMS}.`);
  }
  if (match === host && /^\d+$/.test(path)) {
    throw new UsageError(
      `${JSON.stringify(text)} could be a port or a path. Write ${text}:PATH, or ${address}:./${path} for the path.`,
    );
  }
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  const isDirectory = names.length === 0 || /(?:^|\/)\.?$/.test(path);
  return { address: checkAddress(address), path: names.join('/'), isDirectory };
}

export interface InterruptionOptions {
  /** There is nothing to do but to print: it ends, too, when nobody reads standard output any more. */
  readonly withReader?: boolean;
}

/** Ctrl-C and SIGTERM as an AbortSignal. The second one ends the process at once, as if nobody listened. */
export class Interruption implements Disposable {
  readonly #controller = new AbortController();
  readonly #onSignal: (name: NodeJS.Signals) => void;
  readonly #onReaderGone: () => void;
  #exitCode: ExitCode | undefined;

  constructor({ withReader = false }: InterruptionOptions = {}) {
    const end = (exitCode: ExitCode, why: string): void => {
      this.#exitCode = exitCode;
      this[Symbol.dispose]();
      this.#controller.abort(new Error(why));
    };
    this.#onSignal = (name) => {
      end(name === 'SIGTERM' ? EXIT.terminated : EXIT.interrupted, name);
    };
    this.#onReaderGone = () => {
      end(EXIT.ok, 'nobody reads standard output');
    };
    // Every operation in flight listens to it.
    setMaxListeners(0, this.#controller.signal);
    process.on('SIGINT', this.#onSignal).on('SIGTERM', this.#onSignal);
    if (withReader) readerGone.addEventListener('abort', this.#onReaderGone);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What to exit with, if it was interrupted. */
  get exitCode(): ExitCode | undefined {
    return this.#exitCode;
  }

  [Symbol.dispose](): void {
    process.off('SIGINT', this.#onSignal).off('SIGTERM', this.#onSignal);
    readerGone.removeEventListener('abort', this.#onReaderGone);
  }
}

/**
 * Does something that Ctrl-C and SIGTERM may end. What it then rejects with is told, and the exit code is that of the signal.
 */
export async function interruptible(
  json: boolean,
  act: (signal: AbortSignal, interruption: Interruption) => Promise<void>,
  options?: InterruptionOptions,
): Promise<void> {
  using interruption = new Interruption(options);
  try {
    await act(interruption.signal, interruption);
  } catch (error) {
    const { exitCode } = interruption;
    if (exitCode === undefined) throw error;
    if (exitCode !== EXIT.ok) complain(error, json);
    process.exitCode = exitCode;
  }
}
