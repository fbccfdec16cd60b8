// The service loader's second half (steps 424 to 444): the services of a runtime, from their modules to the end of each. A service that
// fails is reported and leaves the others alone. What stands beneath them is the kernel's.
import { SplitplaneError } from '../errors.js';
import { builtInService } from './services/index.js';
import { messageOf, LoadedService, type LoadInit } from './loaded-service.js';
import { describe, type Kernel } from './kernel.js';
import type { ServiceEntry } from './manifest.js';
import { Service, type AnyService } from './service.js';
import type { ServiceSnapshot } from './snapshot.js';

/** Services that failed and are remembered. */
const FAILURES_MAX = 1000;

export class ServiceLoader {
  readonly #kernel: Kernel;
  readonly #services = new Map<string, LoadedService>();
  readonly #entries = new Map<string, ServiceEntry>();
  readonly #failed = new Map<string, ServiceSnapshot>();
  #versions = 0;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** What runs, and what failed to. */
  get snapshots(): ServiceSnapshot[] {
    return [...[...this.#services.values()].map(({ snapshot }) => snapshot), ...this.#failed.values()];
  }

  find(name: string): LoadedService | undefined {
    return this.#services.get(name);
  }

  /**
   * Step 424: loads what a manifest lists. All are registered before the first one starts, so that partners find each other.
   * Settles when each has started or failed; failures are reported and remembered.
   */
  async loadAll(entries: readonly ServiceEntry[]): Promise<void> {
    const registered: [ServiceEntry, LoadedService][] = [];
    for (const entry of entries) {
      try {
        const service = await this.#make(entry);
        registered.push([entry, this.#register(service, this.#initOf(entry), false)]);
      } catch (error) {
        this.#report(entry, error);
      }
    }
    const starting = registered.map(([entry, loaded]) =>
      this.#startEntry(entry, loaded).catch((error: unknown) => {
        this.#report(entry, error);
      }),
    );
    await Promise.all(starting);
  }

  /** Loads one service. Rejects when it cannot be made, registered or started. */
  async load(entry: ServiceEntry): Promise<LoadedService> {
    try {
      const service = await this.#make(entry);
      return await this.#startEntry(entry, this.#register(service, this.#initOf(entry), false));
    } catch (error) {
      this.#report(entry, error);
      throw error;
    }
  }

  /** Loads a service that is an object already. `trusted`: part of the runtime. Rejects as load does. */
  async add(service: AnyService, init: LoadInit, trusted = false): Promise<LoadedService> {
    const loaded = this.#register(service, init, trusted);
    await this.#start(loaded, init);
    return loaded;
  }

  /** Ends a service. Settles when it has stopped. Throws INVALID_ARGUMENT for a name that none has. */
  async unload(name: string): Promise<void> {
    const loaded = this.#known(name);
    this.#services.delete(name);
    this.#entries.delete(name);
    await loaded.unload();
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
    await loaded.replace(service ?? (await importService(`${entry?.module}?version=${++this.#versions}`)));
  }

  /** Ends all, the last one loaded first. */
  async close(): Promise<void> {
    for (const name of [...this.#services.keys()].reverse()) await this.unload(name);
  }

  #known(name: string): LoadedService {
    const loaded = this.#services.get(name);
    if (loaded !== undefined) return loaded;
    throw new SplitplaneError('INVALID_ARGUMENT', `There is no service called ${name} here.`);
  }

  #initOf({ name, partners, state, queueMax }: ServiceEntry): LoadInit {
    return { name, partners: this.#partnersOf(partners), state, queueMax };
  }

  #register(service: AnyService, init: LoadInit, trusted: boolean): LoadedService {
    const loaded: LoadedService = new LoadedService(this.#kernel, service, init, {
      trusted,
      drop: () => this.unload(loaded.name),
    });
    this.#services.set(loaded.name, loaded);
    this.#failed.delete(loaded.name);
    return loaded;
  }

  async #startEntry(entry: ServiceEntry, loaded: LoadedService): Promise<LoadedService> {
    this.#entries.set(entry.name, entry);
    await this.#start(loaded, { state: entry.state });
    return loaded;
  }

  async #start(loaded: LoadedService, { state }: Pick<LoadInit, 'state'>): Promise<void> {
    try {
      await loaded.start(state);
    } catch (error) {
      this.#services.delete(loaded.name);
      this.#entries.delete(loaded.name);
      throw error;
    }
  }

  async #make(entry: ServiceEntry): Promise<AnyService> {
    const service =
      entry.module === undefined ? builtInService(entry.builtin ?? '') : await importService(entry.module);
    const { uri } = service.contract as { uri: string };
    if (entry.contract === undefined || entry.contract === uri) return service;
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      `${entry.name} has the contract ${uri}, not ${entry.contract}.`,
    );
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
    this.#kernel.log('error', name, `The service of line ${at.line} did not start: ${describe(error)}`);
    const port = { depth: 0, depthMax: 0, delivered: 0, refused: 0, faults: 0, running: 0 };
    const problem = messageOf(error);
    const uri = this.#kernel.uris.prefix + name;
    // The name belongs to another service, which runs: that this one does not is in the log.
    if (this.#services.has(name)) return;
    if (this.#failed.size >= FAILURES_MAX) this.#failed.delete(this.#failed.keys().next().value as string);
    this.#failed.set(name, {
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
}

/** Makes the service that a module exports. Rejects with INVALID_ARGUMENT for a module that exports none. */
async function importService(module: string): Promise<AnyService> {
  const exported = ((await import(module)) as { readonly default?: unknown }).default;
  const service: unknown = typeof exported === 'function' ? new (exported as new () => unknown)() : undefined;
  if (service instanceof Service) return service as AnyService;
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    `${module} does not export a class that extends Service as its default.`,
  );
}
