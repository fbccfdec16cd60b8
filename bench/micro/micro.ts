/**
 * What a micro-benchmark is: something that is done so often that one call tells nothing. It is measured in a process of its own by the
 * package `benchmark` (run.ts). It must not know what is measured.
 */
import type { Case } from '../measurement.js';

export interface Micro {
  readonly task: Case;
  /** Done in one call of what `prepare` gives. */
  readonly operations: number;
  /** Called once, in the process that measures. */
  prepare(): () => void;
}
