/**
 * The program that both processes of a pair run: it loads the subject's traffic and obeys the harness over IPC. It ends when it is
 * told to stop, and also when the harness is gone.
 */
import type { FromChild, ToChild } from './pair-processes.js';
import { loadTraffic } from './pair.js';
import { Recorder } from './recorder.js';

const recorder = new Recorder();
const stopped = new AbortController();

function tell(message: FromChild): void {
  process.send?.(message, undefined, undefined, () => undefined);
}

function fail(error: unknown): void {
  // Traffic that is cut off complains; nobody waits for it any more.
  if (stopped.signal.aborted) process.exit(0);
  tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
}

async function obey(message: ToChild): Promise<void> {
  switch (message.kind) {
    case 'serve': {
      const traffic = await loadTraffic(message.module);
      tell({ kind: 'ready', address: await traffic.serve(message.task, recorder, stopped.signal) });
      break;
    }
    case 'drive': {
      const traffic = await loadTraffic(message.module);
      await traffic.drive(message.task, message.address, recorder, stopped.signal);
      if (!stopped.signal.aborted) throw new Error('the traffic ended before it was told to');
      process.exit(0);
      break;
    }
    case 'progress':
      tell({ kind: 'progress', progress: recorder.progress() });
      break;
    case 'begin':
      recorder.begin();
      break;
    case 'end':
      tell({ kind: 'report', report: recorder.end() });
      break;
    case 'stop':
      stopped.abort();
      break;
  }
}

// A server has nothing to wait for once it is stopped; a client lets its traffic run out, and the harness ends it if it does not.
let serving = false;
process.on('message', (raw: unknown) => {
  const message = raw as ToChild;
  if (message.kind === 'serve') serving = true;
  obey(message).catch(fail);
  if (message.kind === 'stop' && serving) setImmediate(() => process.exit(0));
});
// Also what the traffic's own libraries throw into the air, most of all when it is cut off.
process.on('uncaughtException', fail);
process.on('disconnect', () => process.exit(0));
// An interrupt from the terminal reaches this process as well; the harness decides what it means.
process.on('SIGINT', () => undefined);
