/**
 * The peer `grpc`: @grpc/grpc-js as it comes, one bidirectional stream of raw bytes, so that no protobuf is paid for. Message
 * limits are off, or it would refuse the larger payloads. `grpc-tuned` is the same with a larger HTTP/2 window.
 */
import { once } from 'node:events';
import type { ChannelOptions, ServerDuplexStream } from '@grpc/grpc-js';
import { packageVersion } from '../children.js';
import { MIB } from '../measurement.js';
import { pairSubject, type Traffic } from '../pair.js';

const METHOD_PATH = '/splitplane.bench.Bytes/Exchange';
const PULLS_IN_FLIGHT = 4;
/** One when the message gets its five-byte prefix, one when the receiver joins its pieces. */
export const GRPC_COPIES_PER_BYTE = 2;

const OPTIONS: ChannelOptions = {
  'grpc.max_send_message_length': -1,
  'grpc.max_receive_message_length': -1,
};

export const grpcSubject = pairSubject({
  name: 'grpc',
  module: import.meta.url,
  cases: [
    { metric: 'push', size: MIB, mode: 'event' },
    { metric: 'push', size: 16 * MIB, mode: 'event' },
    { metric: 'pull', size: MIB, mode: 'event' },
    { metric: 'pull', size: 16 * MIB, mode: 'event' },
    { metric: 'message_rtt', size: 64, mode: 'event' },
    { metric: 'fetch_rtt', size: MIB, mode: 'event' },
    { metric: 'message_rate', size: 64, mode: 'event' },
  ],
  libraryCopiesPerByte: GRPC_COPIES_PER_BYTE,
  version: () => packageVersion('@grpc/grpc-js'),
});

const identity = (bytes: Buffer) => bytes;

type Exchange = ServerDuplexStream<Buffer, Buffer>;

/** Writes that wait in the call: enough that it never runs dry. Its own mark of 16 is too low for small messages. */
const SMALL_WRITES_IN_FLIGHT = 1024;
const LARGE_WRITES_IN_FLIGHT = 4;

/** Writes one message, and the next once it has left. */
function sendOn(call: Exchange, payload: Buffer): void {
  call.write(payload, (error: Error | null | undefined) => {
    if (!error) sendOn(call, payload);
  });
}

export const traffic = grpcTraffic({});

/** The receiving side dials, because only a client can set its HTTP/2 window. */
export function grpcTraffic(tuning: ChannelOptions): Traffic {
  const options = { ...OPTIONS, ...tuning };
  return {
    async serve(task) {
      const { Server, ServerCredentials } = await import('@grpc/grpc-js');
      const payload = Buffer.alloc(task.size, 1);
      const writesInFlight = task.size < MIB ? SMALL_WRITES_IN_FLIGHT : LARGE_WRITES_IN_FLIGHT;
      const streams = task.metric === 'push' || task.metric === 'message_rate';
      const exchange = (call: Exchange) => {
        // The client is ended first; what breaks then is no failure.
        call.on('error', () => undefined);
        call.on('data', (message: Buffer) => {
          if (streams) for (let i = 0; i < writesInFlight; i++) sendOn(call, payload);
          else call.write(task.metric === 'message_rtt' ? message : payload);
        });
      };
      const server = new Server(options);
      server.addService(
        {
          exchange: {
            path: METHOD_PATH,
            requestStream: true,
            responseStream: true,
            requestSerialize: identity,
            requestDeserialize: identity,
            responseSerialize: identity,
            responseDeserialize: identity,
          },
        },
        { exchange },
      );
      const port = await new Promise<number>((resolve, reject) => {
        server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
          if (error) reject(error);
          else resolve(bound);
        });
      });
      return `127.0.0.1:${port}`;
    },

    async drive(task, address, recorder, signal) {
      const { Client, Metadata, credentials } = await import('@grpc/grpc-js');
      const client = new Client(address, credentials.createInsecure(), options);
      const call = client.makeBidiStreamRequest<Buffer, Buffer>(
        METHOD_PATH,
        identity,
        identity,
        new Metadata(),
      );
      signal.addEventListener('abort', () => {
        call.cancel();
      });
      const isEcho = task.metric === 'message_rtt';
      const isRoundTrip = isEcho || task.metric === 'fetch_rtt';
      const isAsked = isRoundTrip || task.metric === 'pull';
      const request = Buffer.alloc(isEcho ? task.size : 1, 1);
      let begin = 0;
      const ask = () => {
        begin = performance.now();
        call.write(request);
      };
      call.on('data', (message: Buffer) => {
        if (isRoundTrip) recorder.roundTrip(begin);
        else recorder.delivered(message.length);
        if (isAsked) ask();
      });
      // A stream needs one request to begin.
      for (let i = 0; i < (task.metric === 'pull' ? PULLS_IN_FLIGHT : 1); i++) ask();
      await once(call, 'end', { signal });
    },
  };
}
