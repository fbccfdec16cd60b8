// The audit log: who was refused or allowed what, by which rule. The last entries stand in memory for whoever asks; a file, if
// there is one, gets every entry as a line of JSON. A refusal is an entry each time. What is allowed hundreds of thousands of
// times a second is one entry when it is decided, with a count of how often the decision was used. Decides nothing.
import { AuditFile, type AuditFileOptions } from './audit-file.js';
import type { Verb } from './verbs.js';

/** Entries in memory; older ones are forgotten there. */
export const AUDIT_ENTRIES_MAX = 1024;
/** UTF-16 units of a path that nobody has checked. */
const PATH_LENGTH_MAX = 256;

/** What was asked: to register a name, to send a message, to resolve buffers, to change the policy. */
export type AuditKind = 'registration' | 'message' | 'memory' | 'policy';

export interface AuditEntry {
  /** When it was decided: ISO 8601, UTC. */
  readonly time: string;
  readonly decision: 'allowed' | 'refused';
  readonly kind: AuditKind;
  readonly principal: string;
  /** Absent where the action was none of DSSP's, and for registrations and policies. */
  readonly verb?: Verb;
  /** The service, as "/" and its name; the file of a policy. */
  readonly path: string;
  readonly contract?: string;
  /** The line of the policy that decided; absent where no rule said anything. */
  readonly rule?: number;
  readonly reason?: string;
  /** How often the decision was used so far. */
  readonly count: number;
}

/** An entry as it is made. */
export interface AuditInit {
  readonly decision: AuditEntry['decision'];
  readonly kind: AuditKind;
  readonly principal: string;
  readonly verb?: Verb | undefined;
  readonly path: string;
  readonly contract?: string | undefined;
  readonly rule?: number | undefined;
  readonly reason?: string | undefined;
}

/** An entry as it is kept. */
export class AuditRecord {
  /** Raised by whoever uses the decision again. */
  count = 1;
  /** What the file has of it. */
  countWritten = 1;

  constructor(
    readonly init: AuditInit,
    readonly atMs: number,
  ) {}

  entry(): AuditEntry {
    const { decision, kind, principal, verb, path, contract, rule, reason } = this.init;
    return {
      time: new Date(this.atMs).toISOString(),
      decision,
      kind,
      principal,
      ...(verb !== undefined && { verb }),
      path,
      ...(contract !== undefined && { contract }),
      ...(rule !== undefined && { rule }),
      ...(reason !== undefined && { reason }),
      count: this.count,
    };
  }
}

export class AuditLog {
  readonly #now: () => number;
  readonly #file: AuditFile | undefined;
  /** A ring: the oldest is at `#next` once it is full. */
  readonly #records: AuditRecord[] = [];
  #next = 0;

  private constructor(now: () => number, file: AuditFile | undefined) {
    this.#now = now;
    this.#file = file;
  }

  /** Opens the file, if there is one. Rejects with SYSTEM if it cannot be written. Later failures go to options.log. */
  static async open(path: string | undefined, options: AuditFileOptions): Promise<AuditLog> {
    return new AuditLog(options.now, path === undefined ? undefined : await AuditFile.open(path, options));
  }

  /** Lines that the file is missing, because the disk did not follow or there were too many. */
  get dropped(): number {
    return this.#file?.dropped ?? 0;
  }

  /** The last entries, oldest first, at most AUDIT_ENTRIES_MAX. */
  entries(): AuditEntry[] {
    return this.#inOrder().map((record) => record.entry());
  }

  /** Adds an entry. The answer's count may be raised from then on. */
  add(init: AuditInit): AuditRecord {
    const record = new AuditRecord(init, this.#now());
    this.#records[this.#next] = record;
    this.#next = (this.#next + 1) % AUDIT_ENTRIES_MAX;
    this.#file?.append(lineOf(record), init.decision);
    return record;
  }

  /** Writes the counts that have risen, of what stands in memory. To be called when decisions end. */
  settle(): void {
    if (this.#file === undefined) return;
    for (const record of this.#inOrder()) {
      if (record.count === record.countWritten) continue;
      record.countWritten = record.count;
      this.#file.append(lineOf(record), record.init.decision);
    }
  }

  /** Settles when all that ever will be is in the file. */
  async close(): Promise<void> {
    this.settle();
    await this.#file?.close();
  }

  #inOrder(): AuditRecord[] {
    return [...this.#records.slice(this.#next), ...this.#records.slice(0, this.#next)];
  }
}

/** A text from elsewhere as an entry shows it: not at any length, and not a slice that keeps a whole message alive. */
export function shown(text: string): string {
  return owned(text.length > PATH_LENGTH_MAX ? `${text.slice(0, PATH_LENGTH_MAX)}...` : text);
}

/** The same text, but not a slice of a longer one, which would stay alive as long as this does. */
export function owned(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8');
}

/**
 * One line, in ASCII alone. JSON escapes line feeds; what some viewers take for line ends, or what turns the direction of
 * writing around, is escaped as well, because names come from peers.
 */
function lineOf(record: AuditRecord): string {
  return JSON.stringify(record.entry()).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
