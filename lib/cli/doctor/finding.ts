// What doctor says: findings, each with a stable id, what was seen and, unless it is fine, what to do. Making them, and the words
// that several checks share. Knows no check.

/** Skipped: it could not be looked at, because of another finding, or does not apply. */
export const STATUSES = ['ok', 'warning', 'problem', 'skipped'] as const;
export type Status = (typeof STATUSES)[number];

/** On this host, on the other, or between them. */
export const PLACES = ['here', 'there', 'between'] as const;
export type Place = (typeof PLACES)[number];

export interface Finding {
  /** Stable: docs/CLI.md lists them. */
  readonly id: string;
  readonly status: Status;
  readonly where: Place;
  /** The port, node or device in question, where there may be several. */
  readonly subject?: string;
  readonly seen: string;
  /** Unless it is fine. */
  readonly advice?: string;
  /** What to type, one after the other. */
  readonly commands?: readonly string[];
}

interface Details {
  readonly subject?: string | undefined;
  readonly where?: Place;
}

interface Remedy extends Details {
  readonly advice: string;
  readonly commands?: readonly string[];
}

export function ok(id: string, seen: string, details: Details = {}): Finding {
  return make(id, 'ok', seen, details);
}

export function skipped(id: string, seen: string, details: Details = {}): Finding {
  return make(id, 'skipped', seen, details);
}

export function warning(id: string, seen: string, remedy: Remedy): Finding {
  return make(id, 'warning', seen, remedy);
}

export function problem(id: string, seen: string, remedy: Remedy): Finding {
  return make(id, 'problem', seen, remedy);
}

function make(id: string, status: Status, seen: string, more: Details & Partial<Remedy>): Finding {
  const { subject, where = 'here', advice, commands = [] } = more;
  return {
    id,
    status,
    where,
    ...(subject === undefined ? {} : { subject }),
    seen,
    ...(advice === undefined ? {} : { advice }),
    ...(commands.length === 0 ? {} : { commands }),
  };
}

/** `1 problem`, `2 problems`. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
