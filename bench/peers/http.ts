/**
 * The peers `http1` and `http2`: Node's own HTTP servers and clients on kept connections, without TLS. `pull` fetches a static body
 * again and again, several at once; `message_rtt` posts a body and gets it back; `fetch_rtt` asks for a body. What arrives is put
 * together in one final buffer, as somebody needs it who goes on working with it.
 */
import { once } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { KIB, MIB, type Case } from '../measurement.js';
import type { Traffic } from '../pair.js';
import type { Recorder } from '../recorder.js';

const PULLS_IN_FLIGHT = 4;
/** HTTP/2 comes with a window of 64 KiB, and would wait for each; and with 10 MB for all that is under way, in megabytes. */
const HTTP2_WINDOW_BYTES = 32 * MIB;
const HTTP2_OPTIONS = {
  settings: { initialWindowSize: HTTP2_WINDOW_BYTES },
  maxSessionMemory: 1024,
};

export const HTTP_CASES: readonly Case[] = [
  { metric: 'pull', size: 64 * KIB, mode: 'event', brief: true },
  { metric: 'pull', size: MIB, mode: 'event' },
  { metric: 'pull', size: 16 * MIB, mode: 'event', brief: true },
  { metric: 'message_rtt', size: 64, mode: 'event' },
  { metric: 'message_rtt', size: 64 * KIB, mode: 'event', brief: true },
  { metric: 'message_rtt', size: MIB, mode: 'event', brief: true },
  { metric: 'fetch_rtt', size: MIB, mode: 'event' },
];

export type HttpVersion = 1 | 2;

/** Sends `body` and settles with the stream of the answer's. */
type Ask = (body: Buffer) => Promise<Readable>;

export function httpTraffic(version: HttpVersion): Traffic {
  return {
    async serve(task) {
      const payload = Buffer.alloc(task.size, 1);
      const answer = (request: Readable, response: Writable) => {
        // The client is ended first; what breaks then is no failure.
        response.on('error', () => undefined);
        if (task.metric !== 'message_rtt') {
          response.end(payload);
          return;
        }
        const collected = Buffer.alloc(task.size);
        collect(request, collected).then(
          () => response.end(collected),
          () => response.destroy(),
        );
      };
      const server = version === 1 ? http.createServer(answer) : createHttp2Server(answer);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return String((server.address() as AddressInfo).port);
    },

    async drive(task, port, recorder, signal) {
      const { ask, close } = version === 1 ? http1Client(port) : http2Client(port);
      signal.addEventListener('abort', close);
      const isRoundTrip = task.metric !== 'pull';
      const body = Buffer.alloc(task.metric === 'message_rtt' ? task.size : 0, 1);
      const drivers = Array.from({ length: isRoundTrip ? 1 : PULLS_IN_FLIGHT }, async () => {
        const collected = Buffer.alloc(task.size);
        while (!signal.aborted) {
          const begin = performance.now();
          const answer = await ask(body);
          await collect(answer, collected, recorder);
          if (isRoundTrip) recorder.roundTrip(begin);
          else recorder.delivered(task.size);
        }
      });
      await Promise.all(drivers);
    },
  };
}

function createHttp2Server(answer: (request: Readable, response: Writable) => void): http2.Http2Server {
  const server = http2.createServer(HTTP2_OPTIONS, (request, response) => answer(request, response.stream));
  server.on('session', (session) => session.setLocalWindowSize(HTTP2_WINDOW_BYTES));
  return server;
}

/** Settles when `into` is full to the last byte and the stream has ended. */
async function collect(from: Readable, into: Buffer, recorder?: Recorder): Promise<void> {
  let filled = 0;
  from.on('data', (chunk: Buffer) => {
    filled += chunk.copy(into, filled);
    recorder?.copied(chunk.length);
  });
  await once(from, 'end');
  if (filled !== into.length) throw new Error('the body is not as long as it should be');
}

function http1Client(port: string): { ask: Ask; close: () => void } {
  const agent = new http.Agent({ keepAlive: true, maxSockets: PULLS_IN_FLIGHT });
  const options = { host: '127.0.0.1', port, agent };
  return {
    ask: async (body) => {
      const request = http.request({ ...options, method: body.length === 0 ? 'GET' : 'POST' });
      if (body.length > 0) request.setHeader('content-length', body.length);
      request.end(body);
      const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
      return answer;
    },
    close: () => {
      agent.destroy();
    },
  };
}

function http2Client(port: string): { ask: Ask; close: () => void } {
  const session = http2.connect(`http://127.0.0.1:${port}`, HTTP2_OPTIONS);
  session.once('connect', () => session.setLocalWindowSize(HTTP2_WINDOW_BYTES));
  return {
    ask: async (body) => {
      // A request without a body has ended when it begins.
      const isPost = body.length > 0;
      const stream = session.request({ ':method': isPost ? 'POST' : 'GET' }, { endStream: !isPost });
      if (isPost) stream.end(body);
      await once(stream, 'response');
      return stream;
    },
    close: () => session.destroy(),
  };
}
