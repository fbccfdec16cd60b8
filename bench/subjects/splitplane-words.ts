/**
 * What both ends of this project's own traffic agree on, and memory that has been touched. Nothing is measured here.
 */
import type { NetworkManager, RegisteredBuffer } from '../../lib/index.js';

export const NAMESPACE = 'urn:splitplane:bench:1';
export const SERVER = 'urn:splitplane:bench:server';

export function touched(manager: NetworkManager, length: number): RegisteredBuffer {
  const buffer = manager.allocate(length);
  buffer.bytes.fill(1);
  return buffer;
}
