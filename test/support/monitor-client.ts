// Looks at a monitor the way a program does: requests with any headers, and the stream of updates as it goes over the
// wire, read as slowly as a test wants.
import { once } from 'node:events';
import { request, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Begin, Part } from '../../lib/runtime/monitor/wire.js';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** Begins a request; settles when the head of the answer is there. */
export async function ask(url: string | URL, method = 'GET', headers: OutgoingHttpHeaders = {}) {
  const asking = request(url, { method, headers, agent: false });
  asking.end();
  const [answer] = (await once(asking, 'response')) as [IncomingMessage];
  return answer;
}

export async function get(url: string | URL, headers: OutgoingHttpHeaders = {}): Promise<Answer> {
  const answer = await ask(url, 'GET', headers);
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await text(answer) };
}

/** One update, put together; or the sentence that says why there is none. */
export interface Update {
  readonly begin: Begin | undefined;
  readonly parts: readonly Part[];
  readonly problem: string | undefined;
}

/** The updates of a stream, in order, until it ends. */
export async function* updatesOf(answer: IncomingMessage): AsyncGenerator<Update, void, undefined> {
  let begin: Begin | undefined;
  let parts: Part[] = [];
  for await (const { event, data } of eventsOf(answer)) {
    if (event === 'begin') begin = data as Begin;
    else if (event === 'part') parts.push(data as Part);
    else if (event === 'problem') {
      yield { begin: undefined, parts: [], problem: (data as { sentence: string }).sentence };
    } else {
      yield { begin, parts, problem: undefined };
      begin = undefined;
      parts = [];
    }
  }
}

async function* eventsOf(answer: IncomingMessage): AsyncGenerator<{ event: string; data: unknown }> {
  let rest = '';
  answer.setEncoding('utf8');
  for await (const chunk of answer as AsyncIterable<string>) {
    const events = (rest + chunk).split('\n\n');
    rest = events.pop() ?? '';
    for (const text of events) {
      const [, event = '', data = ''] = /^event: (\w+)\ndata: (.*)$/.exec(text) ?? [];
      yield { event, data: JSON.parse(data) as unknown };
    }
  }
}

export async function next(updates: AsyncGenerator<Update, void, undefined>): Promise<Update> {
  const result = await updates.next();
  if (result.done) throw new Error('the stream ended');
  return result.value;
}
