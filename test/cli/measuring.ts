// A measuring service for servers of tests that are not `splitplane serve`.
import { expect } from 'vitest';
import { Measure } from '../../lib/cli/perf/contract.js';
import { Service, type Handlers } from '../../lib/runtime/index.js';

export const NOTHING_SPENT = { cpuSeconds: 0, bytesReceived: 0, bytesCopied: 0, eventLoopDelayP99Ms: 0 };

export class HonestMeasure extends Service<typeof Measure> {
  readonly contract = Measure;
  readonly handlers: Handlers<typeof Measure> = {
    ping: () => ({}),
    echo: () => ({}),
    share: () => expect.fail('Nobody asks for it.'),
    discard: () => undefined,
    usage: () => NOTHING_SPENT,
  };
}
