// What a runtime and the thread or process of one of its services tell each other beside the messages of services: over the
// channel that there is from the beginning, and that ends with either of them. Plain data, as both kinds of channel can carry.
import type { ErrorCode } from '../../errors.js';
import type { Peer } from '../../network/security.js';
import type { LogLevel } from '../kernel.js';
import type { NetworkEntry } from '../manifest.js';
import type { PortSnapshot } from '../snapshot.js';

/** What a part of a runtime has to know to become one. */
export interface Beginning {
  readonly runtime: {
    readonly nodeId: string;
    /** Where it waits: unix:PATH. */
    readonly address: string;
    readonly prefix: string;
    readonly authorities: readonly string[];
  };
  readonly network: NetworkEntry | undefined;
  readonly service: {
    readonly name: string;
    readonly module: string | undefined;
    readonly builtin: string | undefined;
    readonly contract: string | undefined;
    readonly partners: Readonly<Record<string, string>>;
    readonly queueMax: number | undefined;
    readonly timeoutMs: number | undefined;
  };
}

/** An error on its way. */
export interface Failure {
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: ErrorCode | undefined;
}

export interface Facts {
  readonly port: PortSnapshot;
  readonly subscribers: number;
}

export type ToChild =
  | { readonly kind: 'begin'; readonly beginning: Beginning }
  /** Somebody waits for it at the address. */
  | { readonly kind: 'expected' }
  /** It is registered; `state` is a SOAP message whose body the state is. */
  | { readonly kind: 'start'; readonly state: Uint8Array | undefined }
  | { readonly kind: 'replace'; readonly module: string }
  | { readonly kind: 'stop' }
  | { readonly kind: 'principal'; readonly ask: number; readonly principal: string | undefined }
  | { readonly kind: 'memory'; readonly ask: number; readonly refused: string | undefined }
  /** Subscribers whose URIs begin like this are not connected any more. */
  | { readonly kind: 'gone'; readonly prefix: string }
  /** Lines were written down. */
  | { readonly kind: 'logged'; readonly count: number };

export type FromChild =
  /** It is about to connect, and this is who will. */
  | { readonly kind: 'connecting'; readonly nodeId: string }
  /** The service is there and can be registered. */
  | { readonly kind: 'ready'; readonly contract: string }
  | { readonly kind: 'started' }
  /** It cannot begin, start or go on. */
  | { readonly kind: 'failed'; readonly failure: Failure }
  | { readonly kind: 'replaced'; readonly failure: Failure | undefined }
  /** Somebody with the right to it asks the service to end. */
  | { readonly kind: 'drop' }
  | { readonly kind: 'facts'; readonly facts: Facts }
  | { readonly kind: 'log'; readonly level: LogLevel; readonly text: string }
  /** What is this peer to the security manager? */
  | { readonly kind: 'authenticate'; readonly ask: number; readonly peer: Peer }
  /** May this principal have the buffers of the service? */
  | { readonly kind: 'memory'; readonly ask: number; readonly principal: string };
