/**
 * The micro-benchmark of tags: from their text form in an envelope to the bytes that the engine takes, and back.
 */
import { randomBytes } from 'node:crypto';
import { SharedBlocks } from '../../lib/dataplane/shared-blocks.js';
import type { Micro } from './micro.js';

const TAG_BYTES = 32;
const TAGS = 64;
const MESSAGE_BYTES_MAX = 1 << 16;

export const tagMicros: readonly Micro[] = [
  {
    task: { metric: 'tag_text', size: TAG_BYTES, mode: 'busy' },
    operations: TAGS,
    prepare: () => {
      const memory = new SharedBlocks(MESSAGE_BYTES_MAX);
      // One after the other: the memory remembers the last, and would decode it once.
      const tags = Array.from({ length: TAGS }, () => randomBytes(TAG_BYTES).toString('base64url'));
      return () => {
        for (const tag of tags) {
          memory.putTag(tag);
          if (memory.takeTag() !== tag) throw new Error('a tag has changed');
        }
      };
    },
  },
];
