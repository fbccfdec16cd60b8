// What the runtime and its services have to say: the last lines of it, in memory, and whoever wants to be told of new ones. The
// console is the service that shows it to others. Knows nothing of messages.
import type { Log, LogLevel } from './kernel.js';
import { printable } from './printable.js';

/** Lines that are remembered; the oldest makes room for the newest. */
export const LINES_MAX = 4096;
/** UTF-16 units of a line; what is longer is cut. */
export const LINE_LENGTH_MAX = 2048;
/** UTF-16 units of the name of who wrote it. */
const SOURCE_LENGTH_MAX = 255;

/** From what is only worth knowing to what somebody has to do something about. */
export const LEVELS = ['info', 'warning', 'error'] as const satisfies readonly LogLevel[];

export interface JournalLine {
  /** Counts lines since the runtime began, from 1. */
  readonly sequence: number;
  /** ISO 8601, in UTC. */
  readonly time: string;
  readonly level: LogLevel;
  /** The name of a service, the principal of who wrote from elsewhere, or the part of the runtime. */
  readonly source: string;
  /** Fit to be printed and to stand in a message; line feeds may be in it. */
  readonly text: string;
}

export type JournalWatcher = (line: JournalLine) => void;

export class Journal {
  readonly #out: Log;
  /** A ring: line `sequence` stands at `(sequence - 1) % LINES_MAX`. */
  readonly #lines: JournalLine[] = [];
  readonly #watchers = new Set<JournalWatcher>();
  #last = 0;

  /** `out` gets every line as well, at once. */
  constructor(out: Log) {
    this.#out = out;
  }

  /** Writes a line. A function of its own, so that it can be handed on. */
  readonly log: Log = (level, source, text) => {
    const line: JournalLine = {
      sequence: ++this.#last,
      time: new Date().toISOString(),
      level,
      source: printable(source, SOURCE_LENGTH_MAX),
      text: printable(text, LINE_LENGTH_MAX),
    };
    this.#lines[(line.sequence - 1) % LINES_MAX] = line;
    for (const watch of this.#watchers) watch(line);
    this.#out(level, line.source, line.text);
  };

  /** The number of the newest line; 0 before the first. */
  get last(): number {
    return this.#last;
  }

  /** The number of the oldest line that is remembered. */
  get first(): number {
    return Math.max(1, this.#last - LINES_MAX + 1);
  }

  /** A line by its number, from `first` to `last`. */
  line(sequence: number): JournalLine | undefined {
    return sequence >= this.first ? this.#lines[(sequence - 1) % LINES_MAX] : undefined;
  }

  /** Has `watcher` called for each new line until the answer is called. It must not throw. */
  watch(watcher: JournalWatcher): () => void {
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }
}
