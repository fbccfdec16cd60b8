// New wsa:MessageID values. They must be unique for ever and impossible to guess, since a receiver drops a message whose
// id it has seen: whoever could guess an id could have a message dropped.
import { randomUUID } from 'node:crypto';

let newest = '';

/** A `urn:uuid:` of 122 random bits (RFC 4122, version 4). About 100 ns: the entropy is drawn in batches. */
export function newMessageId(): string {
  newest = `urn:uuid:${randomUUID()}`;
  return newest;
}

/** Whether it is the id that was made last, as the one of a message usually is that is being written: nothing to check about it. */
export function isNewest(messageId: string): boolean {
  return messageId === newest;
}
