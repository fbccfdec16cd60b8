// A worker thread or a child process as its runtime sees it: something that takes messages, tells some, and ends. Knows nothing of
// services. Neither inherits Node's options of this process, since those may be for a debugger or a test; NODE_OPTIONS it does.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { FromChild, ToChild } from './messages.js';

export interface Carrier {
  /** Does nothing after it has ended. */
  send(message: ToChild): void;
  /** Settles when nothing of it is left, with how it ended: a sentence. Never rejects. */
  readonly ended: Promise<string>;
  /** Ends it whatever it is doing. */
  kill(): void;
}

type Listener = (message: FromChild) => void;

const ENTRY = new URL('./child.js', import.meta.url);

export function startThread(name: string, listener: Listener): Carrier {
  const worker = new Worker(ENTRY, { execArgv: [], name });
  let error: Error | undefined;
  worker.on('message', listener);
  worker.on('error', (thrown) => {
    error = thrown;
  });
  return {
    send: (message) => {
      worker.postMessage(message);
    },
    ended: new Promise((resolve) => {
      worker.once('exit', (code) => {
        resolve(
          error === undefined ? `Its thread ended with code ${code}.` : `Its thread failed: ${error.message}`,
        );
      });
    }),
    kill: () => {
      void worker.terminate();
    },
  };
}

export function startProcess(name: string, listener: Listener): Carrier {
  const child = fork(fileURLToPath(ENTRY), [name], {
    execArgv: [],
    serialization: 'advanced',
    // The last one carries nothing: its end tells the child that this process has ended, however busy the child is.
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
  });
  child.on('message', (message) => {
    listener(message as FromChild);
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', ({ message }) => {
      resolve(`Its process could not be started: ${message}`);
    });
    child.once('exit', (code, signal) => {
      resolve(
        signal === null ? `Its process ended with code ${code}.` : `Its process was ended by ${signal}.`,
      );
    });
  });
  return {
    send: (message) => {
      // Whether it has ended is what `ended` says.
      if (child.connected) child.send(message, () => undefined);
    },
    ended,
    kill: () => {
      child.kill('SIGKILL');
    },
  };
}
