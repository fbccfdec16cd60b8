// What `ping` and `perf` ask of a serving process, as a contract. Data alone.
import {
  body,
  buffer,
  choice,
  contract,
  integer,
  number,
  optional,
  Submit,
  Tell,
  text,
} from '../../runtime/index.js';
import { SHARE_BYTES_MAX } from './limits.js';

/** The name of the service that has it. */
export const MEASURE = 'measure';

const payload = { payload: optional(buffer()) };

export const Measure = contract('urn:splitplane:measure:1', {
  operations: {
    /** Answers with the bytes that came. */
    ping: Submit(body('Ping', payload), body('PingResponse', payload)),
    /** The same, as often as it can be: it is not logged. */
    echo: Submit(body('Echo', payload), body('EchoResponse', payload)),
    /** Memory for one-sided access, until the answer is released. */
    share: Submit(
      body('Share', { size: integer(1, SHARE_BYTES_MAX), access: choice('read', 'write') }),
      body('ShareResponse', { content: buffer() }),
    ),
    /** A message to count. */
    discard: Tell(body('Discard', { text: text() })),
    /** Processor time, copies and event-loop delay of the serving process since the first step. */
    usage: Submit(
      body('Usage', { step: choice('start', 'read') }),
      body('UsageResponse', {
        cpuSeconds: number(),
        bytesReceived: number(),
        bytesCopied: number(),
        eventLoopDelayP99Ms: number(),
      }),
    ),
  },
});
