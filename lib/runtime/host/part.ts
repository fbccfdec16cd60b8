// What runs in the thread or process of a service: the kernel, the service, and what the runtime says and asks about them. Knows
// nothing of how messages to and from the runtime get there.
import { SoapFault } from '../../soap/fault.js';
import { Kernel, type LogLevel } from '../kernel.js';
import { LoadedService } from '../loaded-service.js';
import { importService, makeService } from '../modules.js';
import { failureOf } from './failure.js';
import type { Beginning, Facts, FromChild, ToChild } from './messages.js';
import { decodeState } from './state.js';

/** Milliseconds between two reports of what changes all the time. */
const FACTS_MS = 100;
/** Lines that the runtime has not written down yet. */
const LINES_MAX = 1000;

export class Part {
  readonly #send: (message: FromChild) => void;
  readonly #asking = new Map<number, (answer: string | undefined) => void>();
  #asked = 0;
  #beginning: Beginning | undefined;
  #expected: (() => void) | undefined;
  #dropped: (() => void) | undefined;
  #kernel: Kernel | undefined;
  #service: LoadedService | undefined;
  #reported: Facts | undefined;
  #reporter: NodeJS.Timeout | undefined;
  #lines = 0;
  #linesLost = 0;
  #ending: Promise<void> | undefined;

  constructor(send: (message: FromChild) => void) {
    this.#send = send;
  }

  /** Where it found its runtime. */
  get address(): string | undefined {
    return this.#beginning?.runtime.address;
  }

  told(message: ToChild): void {
    switch (message.kind) {
      case 'begin':
        this.#try(() => this.#begin(message.beginning));
        break;
      case 'expected':
        this.#expected?.();
        break;
      case 'start':
        this.#try(() => this.#start(message.state));
        break;
      case 'replace':
        void this.#replace(message.module);
        break;
      case 'stop':
        void this.end().finally(() => process.exit(0));
        break;
      case 'principal':
        this.#answered(message.ask, message.principal);
        break;
      case 'memory':
        this.#answered(message.ask, message.refused);
        break;
      case 'gone':
        for (const publisher of this.#kernel?.publishers ?? []) publisher.removeBelow(message.prefix);
        break;
      case 'logged':
        this.#lines -= message.count;
        break;
    }
  }

  /** Stops the service and closes the connection. Never rejects. */
  end(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #begin(beginning: Beginning): Promise<void> {
    this.#beginning = beginning;
    const { runtime, network, service } = beginning;
    const { name, partners, queueMax, timeoutMs } = service;
    const log = (level: LogLevel, _source: string, text: string): void => {
      this.#log(level, text);
    };
    // The runtime judges what comes by it, and nothing comes by anybody else.
    this.#kernel = await Kernel.start({ name, security: { off: true }, network }, log, {
      ...runtime,
      expect: (nodeId) => {
        this.#send({ kind: 'connecting', nodeId });
        return new Promise((resolve) => {
          this.#expected = resolve;
        });
      },
      askMemory: async (principal) => {
        const refused = await this.#ask((ask) => ({ kind: 'memory', ask, principal }));
        return refused === undefined ? undefined : SoapFault.dssp('PermissionDenied', refused);
      },
      authenticate: (peer) => this.#ask((ask) => ({ kind: 'authenticate', ask, peer })),
    });
    const made = await makeService(service);
    this.#service = new LoadedService(
      this.#kernel,
      made,
      { name, partners, queueMax, timeoutMs },
      {
        trusted: true,
        drop: () => this.#drop(),
      },
    );
    this.#send({ kind: 'ready', contract: (made.contract as { uri: string }).uri });
  }

  async #start(state: Uint8Array | undefined): Promise<void> {
    await this.#service?.start(decodeState(state));
    this.#reporter = setInterval(() => {
      this.#report();
    }, FACTS_MS).unref();
    this.#report();
    this.#send({ kind: 'started' });
  }

  async #replace(module: string): Promise<void> {
    try {
      await this.#service?.replace(await importService(module));
      this.#send({ kind: 'replaced', failure: undefined });
    } catch (error) {
      this.#send({ kind: 'replaced', failure: failureOf(error) });
    }
  }

  /** Settles when the service has stopped, which is for the runtime to bring about: it has the name. */
  #drop(): Promise<void> {
    this.#send({ kind: 'drop' });
    return new Promise((resolve) => {
      this.#dropped = resolve;
    });
  }

  async #end(): Promise<void> {
    clearInterval(this.#reporter);
    await this.#service?.unload();
    this.#dropped?.();
    // What was answered this very moment is sent before the connection closes.
    await new Promise((resolve) => setImmediate(resolve));
    await this.#kernel?.close();
  }

  #try(act: () => Promise<void>): void {
    act().catch((error: unknown) => {
      this.#send({ kind: 'failed', failure: failureOf(error) });
    });
  }

  #report(): void {
    const snapshot = this.#service?.snapshot;
    if (snapshot === undefined) return;
    const { port, subscribers } = snapshot;
    const before = this.#reported;
    const same =
      before?.subscribers === subscribers &&
      Object.entries(port).every(([name, value]) => before.port[name as keyof typeof port] === value);
    if (same) return;
    this.#reported = { port, subscribers };
    this.#send({ kind: 'facts', facts: this.#reported });
  }

  /** Lines that come faster than the runtime writes them are counted and not kept. */
  #log(level: LogLevel, text: string): void {
    if (this.#lines >= LINES_MAX) {
      this.#linesLost++;
      return;
    }
    if (this.#linesLost > 0) {
      const lost = `${this.#linesLost} lines before this one came too fast and were dropped.`;
      this.#linesLost = 0;
      this.#lines++;
      this.#send({ kind: 'log', level: 'warning', text: lost });
    }
    this.#lines++;
    this.#send({ kind: 'log', level, text });
  }

  #ask(question: (ask: number) => FromChild): Promise<string | undefined> {
    const ask = ++this.#asked;
    return new Promise((resolve) => {
      this.#asking.set(ask, resolve);
      this.#send(question(ask));
    });
  }

  #answered(ask: number, answer: string | undefined): void {
    this.#asking.get(ask)?.(answer);
    this.#asking.delete(ask);
  }
}
