/**
 * Bulk traffic of this project: pushes, pulls and one-sided reads, into or out of one registered buffer that the server has granted,
 * a few transfers in flight. It must not know the transport.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import {
  Envelope,
  include,
  type Connection,
  type Message,
  type RegisteredBuffer,
  type RemoteBuffer,
} from '../../lib/index.js';
import { MIB, transfersInFlight, type Case, type TransportName } from '../measurement.js';
import type { Recorder } from '../recorder.js';
import { NAMESPACE, touched } from './splitplane-words.js';

/**
 * What needs nobody else, like a read of lent memory, settles in a microtask, and a loop of nothing else would never let the event loop
 * turn. It turns after so many steps, or so many bytes.
 */
const STEPS_PER_TURN_MAX = 256;
const BYTES_PER_TURN = 4 * MIB;

export const GRANT = `${NAMESPACE}/Grant`;

/** The server's part: memory of the case's size, until the connection ends. */
export async function grant(message: Message, task: Case, recorder: Recorder): Promise<void> {
  const buffer = touched(message.connection, task.size);
  const access = task.metric === 'push' ? 'write' : 'read';
  const exposure = message.connection.share(buffer, { access });
  // The exposure keeps the memory until it ends.
  buffer.release();
  await message.reply({ action: `${GRANT}ed`, body: include('buffer-0') }, { buffers: [exposure] });
  void (async () => {
    let told = 0;
    for await (const written of exposure.notifications()) {
      recorder.delivered((written - told) * task.size, written - told);
      told = written;
    }
  })();
}

/** Pushes, pulls, or reads one at a time, into or out of memory the server granted. */
export async function transfer(
  connection: Connection,
  task: Case,
  recorder: Recorder,
  signal: AbortSignal,
): Promise<void> {
  const granted = await connection.request(Envelope.of({ action: GRANT }));
  const remote = granted.buffers[0];
  if (remote === undefined) throw new Error('the server granted nothing');
  const stepsPerTurn = Math.max(1, Math.min(STEPS_PER_TURN_MAX, Math.floor(BYTES_PER_TURN / task.size)));
  const repeat = async (step: (remote: RemoteBuffer, buffer: RegisteredBuffer) => Promise<void>) => {
    const buffer = touched(connection, task.size);
    for (let steps = 1; !signal.aborted; steps++) {
      await step(remote, buffer);
      if (steps % stepsPerTurn === 0) await immediate();
    }
  };
  if (task.metric === 'read_rtt') {
    await repeat(async (from, into) => {
      const begin = performance.now();
      await from.resolve({ into });
      recorder.roundTrip(begin);
    });
    return;
  }
  // Pushed and pulled out of one buffer, as the peers do.
  const source = touched(connection, task.size);
  const inFlight = task.count ?? transfersInFlight(connection.peer.transport as TransportName, task.size);
  const steps = Array.from({ length: inFlight }, () =>
    repeat(async (there, here) => {
      if (task.metric === 'push') {
        await there.write(source, { notify: true, checksum: task.checksum });
      } else {
        await there.resolve({ into: here, checksum: task.checksum });
        recorder.delivered(task.size);
      }
    }),
  );
  await Promise.all(steps);
}
