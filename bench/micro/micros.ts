/**
 * All micro-benchmarks, in the order in which they are printed.
 */
import { codecMicros } from './codecs.js';
import type { Micro } from './micro.js';
import { ringMicros } from './ring.js';
import { tagMicros } from './tags.js';

export const MICROS: readonly Micro[] = [...codecMicros, ...tagMicros, ...ringMicros];
