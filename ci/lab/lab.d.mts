// What tests see of the laboratory (lab.mjs): its types, since the scripts of ci/ are plain JavaScript.

import type { EventEmitter } from 'node:events';

export type HostName = 'a' | 'b';

export interface LabOptions {
  /** One host with one device, which is then its own peer. */
  single?: boolean;
  /** Where kernel and boot image are kept; made when absent. */
  cacheDirectory?: string;
  /** A folder that hosts can write to, under the same path as here, and as LAB_RESULTS. */
  results?: string;
  cpus?: number;
  memoryMiB?: number;
  /** A guest ends after this, whatever it does. */
  lifetimeSeconds?: number;
  /** A guest whose kernel or first processes do nothing for this long ends. */
  watchdogSeconds?: number;
}

export interface CommandOptions {
  env?: Record<string, string>;
  /** The checkout, unless said otherwise. */
  cwd?: string;
  user?: string;
  /** A limit on locked memory that holds for root too. */
  memlockBytes?: number;
  timeoutMs?: number;
}

export interface CommandResult {
  /** The exit code, or null if a signal ended the command. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface Job extends EventEmitter {
  readonly stdout: string;
  readonly stderr: string;
  /** Rejects only if the host is lost or the command's time is over. */
  readonly result: Promise<CommandResult>;
  signal(name: NodeJS.Signals): void;
  /** Resolves once the output so far matches; rejects if the command ends without. */
  until(pattern: RegExp, stream?: 'stdout' | 'stderr'): Promise<RegExpExecArray>;
}

/** Hosts that run commands: those of a laboratory, or real ones (real.mjs). */
export interface Hosts {
  readonly hosts: readonly HostName[];
  /** Whether the hosts belong to this laboratory alone, so that a test may take their links and modules away. */
  readonly virtual: boolean;
  spawn(host: HostName, command: string, options?: CommandOptions): Job;
  run(host: HostName, command: string, options?: CommandOptions): Promise<CommandResult>;
  stop(): Promise<void>;
}

export declare const resultsDirectory: string;

export declare class Lab implements Hosts {
  readonly hosts: readonly HostName[];
  readonly virtual: true;
  static open(options?: LabOptions): Promise<Hosts>;
  static start(options?: LabOptions): Promise<Lab>;
  spawn(host: HostName, command: string, options?: CommandOptions): Job;
  run(host: HostName, command: string, options?: CommandOptions): Promise<CommandResult>;
  stop(): Promise<void>;
}
