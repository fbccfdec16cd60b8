// New wsa:MessageID values. They must be unique for ever and impossible to guess, since a receiver drops a message whose
// id it has seen: whoever could guess an id could have a message dropped. They are made many at a time, because a string made
// of twenty small ones costs more than all else about it.
import { randomFillSync } from 'node:crypto';

const PREFIX = 'urn:uuid:';
const UUID_BYTES = 16;
/** 32 digits and 4 hyphens. */
const LENGTH = PREFIX.length + 36;
const HYPHEN = 0x2d;
/** An id is a slice of a text that lives as long as one of its ids: so not too many. */
const IDS_AT_ONCE = 64;
/** Two digits for each value of a byte. */
const DIGITS = Buffer.from(
  Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, '0')).join(''),
);

const entropy = Buffer.alloc(IDS_AT_ONCE * UUID_BYTES);
const octets = Buffer.alloc(IDS_AT_ONCE * LENGTH);
let ids = '';
let next = 0;
let newest = '';

/** A `urn:uuid:` of 122 random bits (RFC 4122, version 4). */
export function newMessageId(): string {
  if (next === ids.length) makeIds();
  newest = ids.slice(next, next + LENGTH);
  next += LENGTH;
  return newest;
}

/** Whether it is the id that was made last, as the one of a message usually is that is being written: nothing to check about it. */
export function isNewest(messageId: string): boolean {
  return messageId === newest;
}

function makeIds(): void {
  randomFillSync(entropy);
  let at = 0;
  for (let id = 0; id < IDS_AT_ONCE; id++) {
    const from = id * UUID_BYTES;
    // RFC 4122, section 4.4: the version and the variant.
    entropy[from + 6] = ((entropy[from + 6] as number) & 0x0f) | 0x40;
    entropy[from + 8] = ((entropy[from + 8] as number) & 0x3f) | 0x80;
    at += octets.write(PREFIX, at, 'latin1');
    for (let byte = 0; byte < UUID_BYTES; byte++) {
      if (byte === 4 || byte === 6 || byte === 8 || byte === 10) octets[at++] = HYPHEN;
      const value = entropy[from + byte] as number;
      octets[at++] = DIGITS[value * 2] as number;
      octets[at++] = DIGITS[value * 2 + 1] as number;
    }
  }
  ids = octets.toString('latin1');
  next = 0;
}
