/**
 * The peer `grpc-tuned`: @grpc/grpc-js with an HTTP/2 window that holds what is in flight, as somebody would run it who measured;
 * bulk is several times faster than with the window it comes with.
 */
import { packageVersion } from '../children.js';
import { MIB } from '../measurement.js';
import { pairSubject } from '../pair.js';
import { GRPC_COPIES_PER_BYTE, grpcTraffic } from './grpc.js';

export const grpcTunedSubject = pairSubject({
  name: 'grpc-tuned',
  module: import.meta.url,
  cases: [
    { metric: 'push', size: MIB, mode: 'event' },
    { metric: 'push', size: 16 * MIB, mode: 'event' },
    { metric: 'pull', size: MIB, mode: 'event' },
    { metric: 'pull', size: 16 * MIB, mode: 'event' },
    { metric: 'fetch_rtt', size: MIB, mode: 'event' },
  ],
  libraryCopiesPerByte: GRPC_COPIES_PER_BYTE,
  version: () => packageVersion('@grpc/grpc-js'),
});

export const traffic = grpcTraffic({
  'grpc-node.flow_control_window': 32 * MIB,
  // In megabytes.
  'grpc-node.max_session_memory': 1024,
});
