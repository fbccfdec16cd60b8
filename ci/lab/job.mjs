// A command that runs on a host of the laboratory: what it has written so far, and how it ended. How it is run, and
// how its output gets here, is the host's business: it calls append(), then ended() or lost().

import { EventEmitter } from 'node:events';
import { constants } from 'node:os';

import { ScriptError } from '../process.mjs';

// A shell reports a process that a signal ended as this plus the signal's number.
const signalBase = 128;

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

/** Emits 'stdout' and 'stderr' with text as it comes, and 'end'. */
export class Job extends EventEmitter {
  stdout = '';
  stderr = '';
  /** Promise of { code, signal, stdout, stderr }; rejects only if the host is lost or the time is over. */
  result;
  #description;
  #sendSignal;
  #settle;
  #timer;

  constructor({ description, sendSignal, timeoutMs }) {
    super();
    this.#description = description;
    this.#sendSignal = sendSignal;
    this.result = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // Whoever started the job may look at the result late, or never.
    this.result.catch(() => {});
    if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.#timeOut(timeoutMs), timeoutMs);
  }

  /** Sends a signal ('SIGTERM') to the command and all that it has started. */
  signal(name) {
    this.#sendSignal(name);
  }

  /** Resolves with the match once the output of `stream` so far matches; rejects if the command ends without. */
  until(pattern, stream = 'stdout') {
    return new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(this[stream]);
        if (match) finish(() => resolve(match));
        return match !== null;
      };
      const onEnd = (result) => {
        if (look()) return;
        const what = `${this.#description} ended with ${result.signal ?? result.code}`;
        const error = `${what} before its ${stream} matched ${pattern}:\n${this.stdout}${this.stderr}`;
        finish(() => reject(new ScriptError(error)));
      };
      const finish = (settle) => {
        this.off(stream, look);
        settle();
      };
      this.on(stream, look);
      if (!look()) this.result.then(onEnd, (error) => finish(() => reject(error)));
    });
  }

  /** For the host: more output. */
  append(stream, text) {
    this[stream] += text;
    this.emit(stream, text);
  }

  /** For the host: the command ended with what a shell calls its exit code, and all its output has been appended. */
  ended(shellCode) {
    clearTimeout(this.#timer);
    const signal = signalNames.get(shellCode - signalBase) ?? null;
    const { stdout, stderr } = this;
    this.#settle.resolve({ code: signal ? null : shellCode, signal, stdout, stderr });
  }

  /** For the host: it will never be known how the command ended. */
  lost(error) {
    clearTimeout(this.#timer);
    this.#settle.reject(error);
  }

  #timeOut(timeoutMs) {
    this.#sendSignal('SIGKILL');
    this.lost(new ScriptError(`${this.#description} did not end within ${timeoutMs / 1000} s`));
  }
}
