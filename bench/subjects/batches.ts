/**
 * Small messages of this project in batches: packed by the sender, and looked at one by one by the receiver, without an envelope or a
 * view for any of them. It must not know the transport.
 */
import type { Connection, NetworkManager } from '../../lib/index.js';
import type { Case } from '../measurement.js';
import type { Recorder } from '../recorder.js';

/** Bytes that one sendBatch() is given: several batches on the wire. */
const BYTES_PER_SEND = 512 * 1024;
/** Enough that the next is there while the peer looks at the last, and together less than a window of credits. */
const SENDS_IN_FLIGHT = 8;

export async function sendBatches(connection: Connection, task: Case, signal: AbortSignal): Promise<void> {
  const messages = {
    bytes: new Uint8Array(Math.floor(BYTES_PER_SEND / task.size) * task.size).fill(1),
    lengths: task.size,
  };
  const senders = Array.from({ length: SENDS_IN_FLIGHT }, async () => {
    while (!signal.aborted) await connection.sendBatch(messages);
  });
  await Promise.all(senders);
}

/** Looks at the ends of each message, and gives the memory back. */
export async function takeBatches(manager: NetworkManager, task: Case, recorder: Recorder): Promise<void> {
  for await (const batch of manager.batches) {
    const { bytes, lengths } = batch;
    let at = 0;
    for (const length of lengths) {
      if (length !== task.size || bytes[at] !== 1 || bytes[at + length - 1] !== 1) {
        throw new Error('a message is damaged');
      }
      at += length;
    }
    recorder.delivered(bytes.length, batch.length);
    batch.release();
  }
}
