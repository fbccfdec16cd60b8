/**
 * What both ends of this project's own traffic agree on, and memory that has been touched. Nothing is measured here.
 */
import type { Connection, RegisteredBuffer } from '../../lib/index.js';

export const NAMESPACE = 'urn:splitplane:bench:1';
export const SERVER = 'urn:splitplane:bench:server';

/** Memory for what goes to this peer: where both are on one host it is looked at where it is. */
export function touched(connection: Connection, length: number): RegisteredBuffer {
  const buffer = connection.allocate(length);
  buffer.bytes.fill(1);
  return buffer;
}
