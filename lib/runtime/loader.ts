// The service loader's second half (steps 424 to 444): the services of a runtime, from their modules to the end of each. A service that
// fails is reported and leaves the others alone. What stands beneath them is the kernel's.
import { SplitplaneError } from '../errors.js';
import { LoadedService, type LoadInit } from './loaded-service.js';
import { Door } from './host/door.js';
import { HostedService } from './host/hosted-service.js';
import { messageOf, whyOf } from './describe.js';
import type { Kernel } from './kernel.js';
import type { ServiceEntry } from './manifest.js';
import { importService, makeService } from './modules.js';
import { printable } from './printable.js';
import type { AnyService } from './service.js';
import type { ServiceSnapshot } from './snapshot.js';

/** Services that failed and are remembered. */
const FAILURES_MAX = 1000;

/** UTF-16 units of what is said of a failure; the log says it all. */
const PROBLEM_LENGTH_MAX = 1000;

/** What can happen to a service: it runs, it did not start or broke, it was ended in good order. */
export type ServiceEvent = 'started' | 'failed' | 'stopped';
/** Called when it has happened, with what the service is then. Must not throw. */
export type ServiceWatcher = (event: ServiceEvent, service: ServiceSnapshot) => void;

/** What became of one entry of a manifest. */
export interface LoadOutcome {
  readonly entry: ServiceEntry;
  /** Where it runs; undefined when it does not. */
  readonly uri?: string;
  /** What kept it from that. */
  readonly error?: unknown;
}

/** A service of this runtime, wherever it lives. */
export type Loaded = LoadedService | HostedService;

export class ServiceLoader {
  readonly #kernel: Kernel;
  readonly #services = new Map<string, Loaded>();
  readonly #entries = new Map<string, ServiceEntry>();
  readonly #failed = new Map<string, ServiceSnapshot>();
  /** The services that are part of the runtime: they end with it. */
  readonly #own = new Set<string>();
  readonly #watchers = new Set<ServiceWatcher>();
  #names: readonly string[] | undefined;
  #door: Door | undefined;
  #versions = 0;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** What runs, and what failed to. */
  get snapshots(): ServiceSnapshot[] {
    return [...[...this.#services.values()].map(({ snapshot }) => snapshot), ...this.#failed.values()];
  }

  /** The names of what runs and of what failed to, sorted by their UTF-16 units. */
  get names(): readonly string[] {
    this.#names ??= [...new Set([...this.#services.keys(), ...this.#failed.keys()])].sort();
    return this.#names;
  }

  /** What runs under this name, or failed to. */
  snapshotOf(name: string): ServiceSnapshot | undefined {
    return this.#services.get(name)?.snapshot ?? this.#failed.get(name);
  }

  /** Has `watcher` called for whatever happens to a service until the answer is called. */
  watch(watcher: ServiceWatcher): () => void {
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  find(name: string): Loaded | undefined {
    return this.#services.get(name);
  }

  /**
   * Step 424: loads what a manifest lists. All are registered before the first one starts, so that partners find each other.
   * Settles when each has started or failed, with what became of each, in their order; failures are reported and remembered.
   */
  async loadAll(entries: readonly ServiceEntry[]): Promise<LoadOutcome[]> {
    const starting: (() => Promise<LoadOutcome>)[] = [];
    for (const entry of entries) {
      const failed = (error: unknown): LoadOutcome => {
        this.#report(entry, error);
        return { entry, error };
      };
      try {
        const loaded = await this.#open(entry);
        starting.push(() =>
          this.#startEntry(entry, loaded).then(({ uri }): LoadOutcome => ({ entry, uri }), failed),
        );
      } catch (error) {
        const outcome = failed(error);
        starting.push(() => Promise.resolve(outcome));
      }
    }
    return Promise.all(starting.map((start) => start()));
  }

  /** Loads one service. Rejects when it cannot be made, registered or started. */
  async load(entry: ServiceEntry): Promise<Loaded> {
    try {
      return await this.#startEntry(entry, await this.#open(entry));
    } catch (error) {
      this.#report(entry, error);
      throw error;
    }
  }

  /**
   * Loads a service that is an object already. `trusted`: part of the runtime, of which nobody is asked whether it may have its
   * name, and which ends with the runtime. Rejects as load does.
   */
  async add(service: AnyService, init: LoadInit, trusted = false): Promise<LoadedService> {
    const loaded = this.#register(service, init, trusted);
    if (trusted) this.#own.add(loaded.name);
    await this.#start(loaded, init);
    return loaded;
  }

  /**
   * Ends a service. Settles when it has stopped. Rejects with INVALID_ARGUMENT for a name that none has, and with UNSUPPORTED
   * for what is part of the runtime.
   */
  async unload(name: string): Promise<void> {
    const loaded = this.#known(name);
    if (this.#own.has(name)) {
      throw new SplitplaneError(
        'UNSUPPORTED',
        `${name} is part of the runtime and ends with it: close that.`,
      );
    }
    await this.#end(loaded);
  }

  /** Loads a service's module anew and puts it behind the same URI. See LoadedService.replace. */
  async replace(name: string, service?: AnyService): Promise<void> {
    const loaded = this.#known(name);
    const entry = this.#entries.get(name);
    if (service === undefined && entry?.module === undefined) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `${name} does not come from a module. Give what is to replace it.`,
      );
    }
    const module = `${entry?.module}?version=${++this.#versions}`;
    if (loaded instanceof LoadedService) {
      await loaded.replace(service ?? (await importService(module)));
    } else if (service === undefined) {
      await loaded.replace(module);
    } else {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `${name} lives in a ${loaded.host}, where an object of this one cannot go. Replace it by its module.`,
      );
    }
  }

  /** Ends all, the last one loaded first. */
  async close(): Promise<void> {
    for (const loaded of [...this.#services.values()].reverse()) await this.#end(loaded);
    await this.#door?.close();
  }

  /** Makes what an entry names, where it is to live, and registers it. Leaves nothing behind when it rejects. */
  async #open(entry: ServiceEntry): Promise<Loaded> {
    if (entry.host === 'here') return this.#register(await makeService(entry), this.#initOf(entry), false);
    this.#door ??= new Door(this.#kernel);
    const partners = this.#partnersOf(entry.partners);
    const hosted: HostedService = await HostedService.open(
      this.#kernel,
      this.#door,
      { entry, partners },
      {
        drop: () => this.unload(entry.name),
        failed: (error) => {
          this.#kernel.log('error', entry.name, `The service has failed: ${whyOf(error)}`);
          this.#forget(hosted);
          this.#remember(hosted.snapshot);
        },
      },
    );
    return this.#list(hosted);
  }

  #list<L extends Loaded>(loaded: L): L {
    this.#services.set(loaded.name, loaded);
    this.#failed.delete(loaded.name);
    this.#names = undefined;
    return loaded;
  }

  async #end(loaded: Loaded): Promise<void> {
    this.#forget(loaded);
    await loaded.unload();
    this.#tell('stopped', loaded.snapshot);
  }

  /** Takes a service off the list, unless another has its name by now. */
  #forget(loaded: Loaded): void {
    const { name } = loaded;
    if (this.#services.get(name) !== loaded) return;
    this.#services.delete(name);
    this.#entries.delete(name);
    this.#names = undefined;
  }

  #tell(event: ServiceEvent, snapshot: ServiceSnapshot): void {
    for (const watch of this.#watchers) watch(event, snapshot);
  }

  #known(name: string): Loaded {
    const loaded = this.#services.get(name);
    if (loaded !== undefined) return loaded;
    throw new SplitplaneError('INVALID_ARGUMENT', `There is no service called ${name} here.`);
  }

  #initOf({ name, partners, state, queueMax, timeoutMs }: ServiceEntry): LoadInit {
    return { name, partners: this.#partnersOf(partners), state, queueMax, timeoutMs };
  }

  #register(service: AnyService, init: LoadInit, trusted: boolean): LoadedService {
    const loaded: LoadedService = new LoadedService(this.#kernel, service, init, {
      trusted,
      drop: () => this.unload(loaded.name),
    });
    return this.#list(loaded);
  }

  async #startEntry(entry: ServiceEntry, loaded: Loaded): Promise<Loaded> {
    this.#entries.set(entry.name, entry);
    await this.#start(loaded, { state: entry.state });
    return loaded;
  }

  async #start(loaded: Loaded, { state }: Pick<LoadInit, 'state'>): Promise<void> {
    try {
      await loaded.start(state);
    } catch (error) {
      this.#forget(loaded);
      throw error;
    }
    const { snapshot } = loaded;
    // It may have been ended while it started.
    if (snapshot.state === 'running') this.#tell('started', snapshot);
  }

  #partnersOf(partners: Readonly<Record<string, string>>): Record<string, string> {
    const { prefix } = this.#kernel.uris;
    return Object.fromEntries(
      Object.entries(partners).map(([name, where]) => [
        name,
        where.startsWith('dos://') ? where : prefix + where,
      ]),
    );
  }

  #report(entry: ServiceEntry, error: unknown): void {
    const { name, partners, host, contract = '', at } = entry;
    const which = at === undefined ? 'The service' : `The service of line ${at.line}`;
    this.#kernel.log('error', name, `${which} did not start: ${whyOf(error)}`);
    const port = { depth: 0, depthMax: 0, delivered: 0, refused: 0, faults: 0, running: 0 };
    const problem = messageOf(error);
    const uri = this.#kernel.uris.prefix + name;
    // The name belongs to another service, which runs: that this one does not is in the log.
    if (this.#services.has(name)) return;
    this.#remember({
      uri,
      name,
      contract,
      state: 'failed',
      host,
      partners,
      problem,
      port,
      subscribers: 0,
    });
  }

  #remember(failed: ServiceSnapshot): void {
    if (this.#failed.size >= FAILURES_MAX) this.#failed.delete(this.#failed.keys().next().value as string);
    // What a module or a process says went wrong may be any text, and goes into messages.
    const problem = printable(failed.problem ?? '', PROBLEM_LENGTH_MAX);
    const remembered = { ...failed, problem };
    this.#failed.set(failed.name, remembered);
    this.#names = undefined;
    this.#tell('failed', remembered);
  }
}
