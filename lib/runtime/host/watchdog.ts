// A thread of a service's process that does nothing but wait for the runtime to be gone, and then ends the process even if the service
// never lets its own thread come to it; it then removes what the runtime left, as that thread would have. It knows by the end of a
// pipe that nothing is sent through.
import { rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

export interface WatchdogInit {
  /** The pipe's number among what the process inherited. */
  readonly pipe: number;
  /** Milliseconds that the process then has to end in good order. */
  readonly endMsMax: number;
}

const { pipe, endMsMax } = workerData as WatchdogInit;
let folder: string | undefined;
parentPort?.on('message', (told: string | undefined) => {
  folder = told;
});
const socket = new Socket({ fd: pipe });
socket.on('error', () => undefined);
socket.on('close', () => {
  setTimeout(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    process.kill(process.pid, 'SIGKILL');
  }, endMsMax);
});
socket.resume();
