// The log of `splitplane serve`: a line for each request that its services handled, when it is over. That is when the answer went, or,
// where something was lent with it, when the asker gave that back. Knows no service.
import type { Connection } from '../network/connection.js';
import { lend, Lent, type Call } from '../runtime/index.js';
import { describe, type Problem } from './failure.js';

export interface LogEntry {
  readonly action: string;
  readonly peer: string;
  readonly path: string | undefined;
  readonly bytes: number | undefined;
  readonly ms: number;
  readonly problem: Problem | undefined;
}

/** What a line says beside who asked, and how long it took. */
interface Facts {
  readonly path?: string | undefined;
  readonly bytes?: number | undefined;
}

type Handler<B, A> = (call: Call<B>) => A | Promise<A>;

export class RequestLog {
  readonly #write: (entry: LogEntry) => void;

  constructor(write: (entry: LogEntry) => void) {
    this.#write = write;
  }

  /**
   * The same handler, and a line for each call. `facts` says what of an answer is worth telling; without it only failures are:
   * there are more of the others than anybody reads.
   */
  logged<B, A>(
    action: string,
    handler: Handler<B, A>,
    facts?: (body: B, answer: A) => Facts,
  ): (call: Call<B>) => Promise<A> {
    return async (call) => {
      const begin = performance.now();
      const tell = ({ path, bytes }: Facts, problem?: Problem): void => {
        const peer = peerOf(call.connection);
        this.#write({ action, peer, path, bytes, ms: performance.now() - begin, problem });
      };
      try {
        const answer = await handler(call);
        if (facts === undefined) return answer;
        const told = facts(call.body, answer);
        return untilReturned(answer, () => {
          tell(told);
        });
      } catch (error) {
        const problem = describe(error);
        tell({ path: problem.path }, problem);
        throw error;
      }
    };
  }
}

function peerOf(connection: Connection | undefined): string {
  return connection === undefined ? 'here' : connection.peer.remoteAddress;
}

/** Calls `over` now, or when what the answer lends has come back. */
function untilReturned<A>(answer: A, over: () => void): A {
  if (
    typeof answer === 'object' &&
    answer !== null &&
    'content' in answer &&
    answer.content instanceof Lent
  ) {
    const { slices, access, returned, uses } = answer.content;
    const content = lend(
      slices,
      access === 'write' ? 'write' : 'read',
      () => {
        returned?.();
        over();
      },
      uses,
    );
    return { ...answer, content };
  }
  over();
  return answer;
}
