// What the monitor sends to its page, as types that both sides share. An update is a `begin`, any number of `part`s, and an
// `end`; the page shows it when it is whole. Types and names only: this file is compiled for Node and for the browser.
import type { ConnectionSnapshot, RuntimeSnapshot, ServiceSnapshot } from '../snapshot.js';

/** Where the page finds what it needs, from its own address. */
export const PATHS = { page: '/', events: '/events', snapshot: '/snapshot.json' } as const;

/** Names of the server-sent events. */
export const EVENTS = { begin: 'begin', part: 'part', end: 'end', problem: 'problem' } as const;

/** Everything but the two lists, and how long they are. */
export interface Begin extends Omit<RuntimeSnapshot, 'services' | 'connections'> {
  /** Whether what the page has is to be forgotten, because the parts tell everything and not only what changed. */
  readonly whole: boolean;
  /** How often updates come at most. */
  readonly intervalMs: number;
}

/** Some of what changed since the last update, or of everything. */
export interface Part {
  readonly services?: readonly ServiceSnapshot[];
  /** URIs of services that are gone. */
  readonly servicesGone?: readonly string[];
  readonly connections?: readonly ConnectionSnapshot[];
  readonly connectionsGone?: readonly number[];
}

/** The runtime could not be asked; updates go on when it can. */
export interface Problem {
  readonly sentence: string;
}
