// The stream of updates from the runtime: opens it while the page is looked at, notices when it ends or falls silent, and
// opens it again by itself. Gives what comes to the model's side as it is; knows nothing of what it means or how it looks.
import { EVENTS, PATHS, type Begin, type Part, type Problem } from '../wire.js';

/** Pauses between attempts; the last one repeats. */
const PAUSES_MS = [1_000, 2_000, 4_000, 8_000] as const;
/** After this many intervals without a word, and at least so long, the runtime counts as silent. */
const SILENT_INTERVALS = 4;
const SILENT_MS_MIN = 5_000;
/** How often it is looked whether it is silent. */
const LOOK_MS = 1_000;

/** How it stands with the runtime. */
export type Link =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  /** The stream is open and nothing comes: the process is stopped, or far too busy. */
  | { readonly kind: 'silent' }
  /** The runtime says why it sends no update. */
  | { readonly kind: 'problem'; readonly sentence: string }
  /** `full`: the runtime has no place for another viewer. */
  | { readonly kind: 'lost'; readonly full: boolean }
  /** Nobody looks at the page. */
  | { readonly kind: 'hidden' };

export interface Listener {
  begin(head: Begin): void;
  part(part: Part): void;
  end(): void;
  link(link: Link): void;
}

export class Stream {
  readonly #listener: Listener;
  #source: EventSource | undefined;
  #link: Link = { kind: 'connecting' };
  #intervalMs = 0;
  #heardAt = performance.now();
  #attempts = 0;
  #retry: number | undefined;

  constructor(listener: Listener) {
    this.#listener = listener;
    document.addEventListener('visibilitychange', () => this.#visible());
    window.setInterval(() => this.#look(), LOOK_MS);
    this.#visible();
  }

  /** Tries now, if it waits for the next attempt. */
  retryNow(): void {
    if (this.#link.kind === 'lost') this.#open();
  }

  /** A page that nobody sees takes no place and costs the runtime nothing. */
  #visible(): void {
    if (document.hidden) {
      this.#close();
      this.#set({ kind: 'hidden' });
    } else if (this.#source === undefined) {
      this.#attempts = 0;
      this.#open();
    }
  }

  #open(): void {
    this.#close();
    this.#heardAt = performance.now();
    if (this.#link.kind !== 'lost') this.#set({ kind: 'connecting' });
    const source = new EventSource(`.${PATHS.events}`);
    this.#source = source;
    const on = (name: string, take: (data: string) => void): void => {
      source.addEventListener(name, (event) => {
        this.#heardAt = performance.now();
        take((event as MessageEvent<string>).data);
      });
    };
    on(EVENTS.begin, (data) => {
      const head = JSON.parse(data) as Begin;
      this.#intervalMs = head.intervalMs;
      this.#listener.begin(head);
    });
    on(EVENTS.part, (data) => this.#listener.part(JSON.parse(data) as Part));
    on(EVENTS.end, () => {
      this.#attempts = 0;
      this.#listener.end();
      this.#set({ kind: 'live' });
    });
    on(EVENTS.problem, (data) => {
      this.#attempts = 0;
      this.#set({ kind: 'problem', sentence: (JSON.parse(data) as Problem).sentence });
    });
    // A browser tries again after some errors and not after others; here it is always the page that does.
    source.addEventListener('error', () => void this.#lost(source));
  }

  #close(): void {
    window.clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = undefined;
  }

  async #lost(source: EventSource): Promise<void> {
    if (source !== this.#source) return;
    this.#close();
    const pauseMs = PAUSES_MS[Math.min(this.#attempts, PAUSES_MS.length - 1)] ?? 0;
    this.#attempts++;
    const full = this.#link.kind === 'lost' && this.#link.full;
    const lost: Link = { kind: 'lost', full };
    this.#retry = window.setTimeout(() => this.#open(), pauseMs);
    this.#set(lost);
    // The stream does not tell why it was refused. To be full is the one reason that is worth another sentence.
    const refused = await fetch(`.${PATHS.events}`, { method: 'HEAD' }).then(
      (response) => response.status === 503,
      () => false,
    );
    if (refused !== full && this.#link === lost) this.#set({ ...lost, full: refused });
  }

  #look(): void {
    const silentMs = Math.max(SILENT_MS_MIN, this.#intervalMs * SILENT_INTERVALS);
    const { kind } = this.#link;
    const quiet = this.#source !== undefined && performance.now() - this.#heardAt > silentMs;
    if (quiet && (kind === 'live' || kind === 'connecting' || kind === 'problem')) {
      this.#set({ kind: 'silent' });
    }
  }

  #set(link: Link): void {
    this.#link = link;
    this.#listener.link(link);
  }
}
