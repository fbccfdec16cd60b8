// The console of a runtime as a service: what the runtime and its services wrote last, new lines as they come, and a way to write for
// whoever may. The lines themselves are the journal's.
import { contract, Query, Submit } from '../contract.js';
import { Fault } from '../fault.js';
import { LEVELS, type Journal, type JournalLine } from '../journal.js';
import { Service, type Handlers } from '../service.js';
import { body, boolean, choice, integer, list, optional, record, text, type Received } from '../shape.js';
import { Page } from './page.js';

/** Lines of one answer and of one notification, and those that one message may write. */
export const CONSOLE_LINES_MAX = 500;

const level = choice(...LEVELS);

export const ConsoleLine = record({
  /** Counts the lines of this runtime from 1; none is left out. */
  sequence: integer(1),
  /** ISO 8601, in UTC. */
  time: text(),
  level,
  /** The name of the service that wrote it, the principal of who submitted it, or the part of the runtime. */
  source: text(),
  text: text(),
});

const WriteLines = body('Write', { level: optional(level), lines: list(text()) });
const QueryLines = body('Query', {
  /** Lines of this level, and those that are worse. */
  level: optional(level),
  /** Lines of this source alone. */
  source: optional(text()),
  /** Lines after this one, the oldest first; without it, the newest there are. */
  after: optional(integer(0)),
  limit: optional(integer(1, CONSOLE_LINES_MAX)),
});
const Lines = body('QueryResponse', {
  /** In the order in which they were written. */
  lines: list(ConsoleLine),
  /** What to give as `after` to go on from here. */
  next: integer(0),
  /** Whether there is more to be had by that at once. */
  more: boolean(),
  /** How many lines after `after` were forgotten before anybody asked for them. */
  missed: integer(0),
});
const Written = body('Written', { lines: list(ConsoleLine) });

/** `written` tells of new lines, several at once where many come at once. Whoever misses some can query them. */
export const Console = contract('urn:splitplane:console:1', {
  operations: { write: Submit(WriteLines), query: Query(QueryLines, Lines) },
  notifications: { written: Written },
});

export class ConsoleService extends Service<typeof Console> {
  readonly contract = Console;
  override readonly concurrency = 'concurrent';
  readonly #journal: Journal;
  #fresh = new Page<JournalLine>(CONSOLE_LINES_MAX);
  #soon: NodeJS.Immediate | undefined;
  #unwatch: (() => void) | undefined;

  readonly handlers: Handlers<typeof Console> = {
    write: ({ body: { level: as = 'info', lines }, from }) => {
      // A line feed of somebody else's must not make a line that looks like one of the runtime's own.
      const single = lines.flatMap((line) => line.split(/\r\n|\r|\n/));
      if (single.length > CONSOLE_LINES_MAX) {
        throw new Fault(
          'OperationFailed',
          `A message writes at most ${CONSOLE_LINES_MAX} lines. Send several.`,
        );
      }
      for (const line of single) this.#journal.log(as, from, line);
    },
    query: ({ body }) => (body.after === undefined ? this.#newest(body) : this.#after(body, body.after)),
  };

  constructor(journal: Journal) {
    super();
    this.#journal = journal;
  }

  override start(): void {
    this.#unwatch = this.#journal.watch((line) => {
      this.#tell(line);
    });
  }

  override stop(): void {
    this.#unwatch?.();
    clearImmediate(this.#soon);
  }

  #newest(filter: Filter) {
    const { first, last } = this.#journal;
    const page = new Page<JournalLine>(filter.limit ?? CONSOLE_LINES_MAX);
    for (let sequence = last; sequence >= first; sequence--) {
      const line = this.#journal.line(sequence);
      if (line !== undefined && matches(line, filter) && !page.add(line, line.text)) break;
    }
    return { lines: page.items.reverse(), next: last, more: false, missed: 0 };
  }

  #after(filter: Filter, after: number) {
    const { first, last } = this.#journal;
    const page = new Page<JournalLine>(filter.limit ?? CONSOLE_LINES_MAX);
    const missed = Math.max(0, first - 1 - after);
    let next = Math.min(Math.max(after, first - 1), last);
    while (next < last) {
      const line = this.#journal.line(next + 1);
      if (line !== undefined && matches(line, filter) && !page.add(line, line.text)) break;
      next++;
    }
    return { lines: page.items, next, more: next < last, missed };
  }

  /** Lines that are written in one go are told in one go: who writes a thousand does not send a thousand messages. */
  #tell(line: JournalLine): void {
    if (!this.#fresh.add(line, line.text)) {
      this.#flush();
      this.#fresh.add(line, line.text);
    }
    this.#soon ??= setImmediate(() => {
      this.#flush();
    });
  }

  #flush(): void {
    clearImmediate(this.#soon);
    this.#soon = undefined;
    const { items } = this.#fresh;
    this.#fresh = new Page(CONSOLE_LINES_MAX);
    this.publish('written', { lines: items });
  }
}

type Filter = Received<typeof QueryLines>;

function matches(line: JournalLine, { level: least, source }: Filter): boolean {
  if (source !== undefined && line.source !== source) return false;
  return least === undefined || LEVELS.indexOf(line.level) >= LEVELS.indexOf(least);
}
