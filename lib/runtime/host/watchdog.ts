// A thread of a service's process that does nothing but wait for the runtime to be gone, and then ends the process even if the service
// never lets its own thread come to it. It knows by the end of a pipe that nothing is sent through.
import { Socket } from 'node:net';
import { workerData } from 'node:worker_threads';

export interface WatchdogInit {
  /** The pipe's number among what the process inherited. */
  readonly pipe: number;
  /** Milliseconds that the process then has to end in good order. */
  readonly endMsMax: number;
}

const { pipe, endMsMax } = workerData as WatchdogInit;
const socket = new Socket({ fd: pipe });
socket.on('error', () => undefined);
socket.on('close', () => {
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), endMsMax);
});
socket.resume();
