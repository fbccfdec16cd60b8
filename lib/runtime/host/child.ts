// The thread or process of one service, from its first line to its last: a kernel of its own that is a part of the runtime which
// started it, and the service on it, which cannot tell. Ends when the runtime says so, or is not there any more.
import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { parentPort, Worker } from 'node:worker_threads';
import { failureOf } from './failure.js';
import type { FromChild, ToChild } from './messages.js';
import { Part } from './part.js';
import type { WatchdogInit } from './watchdog.js';

/** What carrier.ts gives a process to see by that the runtime is gone, and how long it may take to end then. */
const WATCHDOG: WatchdogInit = { pipe: 4, endMsMax: 3000 };

function runInThread(port: NonNullable<typeof parentPort>): void {
  const part = new Part((message) => {
    port.postMessage(message);
  });
  port.on('message', (message: ToChild) => {
    part.told(message);
  });
}

function runInProcess(): void {
  const send = (message: FromChild): void => {
    // It may end while this is on its way, and then nobody wants to know.
    if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
  };
  const part = new Part(send);
  const watchdog = new Worker(new URL('./watchdog.js', import.meta.url), {
    execArgv: [],
    name: 'watchdog',
    workerData: WATCHDOG,
  });
  watchdog.unref();
  // Whoever stops a runtime with its group, or has it read its policy anew, signals every process of it; only the runtime acts on that.
  // If it ends of that signal itself, `disconnect` tells.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);
  process.on('uncaughtException', (error) => {
    if (!process.connected) process.exit(1);
    const message: FromChild = { kind: 'failed', failure: failureOf(error) };
    process.send?.(message, undefined, undefined, () => process.exit(1));
  });
  process.on('message', (message) => {
    part.told(message as ToChild);
    watchdog.postMessage(folderOf(part));
  });
  process.on('disconnect', () => {
    void part.end().finally(() => {
      const folder = folderOf(part);
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
      process.exit(1);
    });
  });
}

/** Where the runtime can be reached, which is for the last one to remove. */
function folderOf({ address }: Part): string | undefined {
  return address === undefined ? undefined : dirname(address.slice('unix:'.length));
}

if (parentPort === null) runInProcess();
else runInThread(parentPort);
