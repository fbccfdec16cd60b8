// The constructor of a runtime: makes services at the request of others, of the kinds that come with the runtime or of modules below
// the manifest's folder, as a manifest would. Loading and starting them is the loader's affair.
import { randomUUID } from 'node:crypto';
import { basename, extname } from 'node:path';
import { SplitplaneError } from '../../errors.js';
import { Create, contract } from '../contract.js';
import { Fault } from '../fault.js';
import type { ServiceLoader } from '../loader.js';
import { PARTNERS_MAX, type ServiceEntry } from '../manifest.js';
import { isName, isServiceUri } from '../names.js';
import { Service, type Call, type Handlers } from '../service.js';
import { body, choice, list, optional, record, text, xml, type Received } from '../shape.js';
import type { JudgeRegistration } from '../uri-manager.js';
import { SERVICE_HOSTS } from './descriptions.js';
import { builtInNames } from './index.js';
import type { ModuleFolder } from './module-folder.js';

/** Services that were created and still run. */
export const CREATED_MAX = 10_000;

const CreateService = body('Create', {
  /** The kind of a service that comes with the runtime; either this or `module`. */
  builtin: optional(text()),
  /** The path of a module from the folder of the runtime's manifest. */
  module: optional(text()),
  /** Generated when left out. */
  name: optional(text()),
  host: optional(choice(...SERVICE_HOSTS)),
  /** The contract that it must turn out to have. */
  contract: optional(text()),
  partners: list(record({ name: text(), uri: text() })),
  /** Its initial state: an element of its contract. */
  state: optional(xml()),
});
const Created = body('CreateResponse', { uri: text(), name: text() });

/**
 * Create settles when the service has started. PermissionDenied: who asks may not register the name, or the module is elsewhere;
 * DuplicateEntry: the name is taken; UnknownEntry: there is no such kind or module; OperationFailed: it did not start.
 * Who may Create here can do whatever the services do that can be created: give that right as one gives a password.
 */
export const Constructor = contract('urn:splitplane:constructor:1', {
  operations: { create: Create(CreateService, Created) },
});

/** What the constructor does to the runtime. */
export type Loads = Pick<ServiceLoader, 'load' | 'unload' | 'watch'>;

export class ConstructorService extends Service<typeof Constructor> {
  readonly contract = Constructor;
  /** A service that creates others while it starts must not wait for itself. */
  override readonly concurrency = 'concurrent';
  readonly #loader: Loads;
  readonly #mayRegister: JudgeRegistration;
  readonly #modules: ModuleFolder;
  readonly #created = new Set<string>();
  #unwatch: (() => void) | undefined;

  readonly handlers: Handlers<typeof Constructor> = {
    create: (call) => this.#create(call),
  };

  constructor(loader: Loads, mayRegister: JudgeRegistration, modules: ModuleFolder) {
    super();
    this.#loader = loader;
    this.#mayRegister = mayRegister;
    this.#modules = modules;
  }

  override start(): void {
    this.#unwatch = this.#loader.watch((event, { name }) => {
      if (event !== 'started') this.#created.delete(name);
    });
  }

  override stop(): void {
    this.#unwatch?.();
  }

  async #create({ body: wish, from, signal }: Call<Received<typeof CreateService>>) {
    const entry = await this.#entryOf(wish);
    const { name } = entry;
    const { allowed, reason } = this.#mayRegister(from, name);
    if (!allowed) throw new Fault('PermissionDenied', reason);
    if (this.#created.has(name))
      throw new Fault('DuplicateEntry', `${name} is taken. Choose another name, or none.`);
    if (this.#created.size >= CREATED_MAX) {
      throw new Fault('InsufficientResources', `${CREATED_MAX} services were created. Drop some of them.`);
    }
    this.#created.add(name);
    try {
      const { uri } = await this.#loader.load(entry);
      if (signal.aborted) {
        // Nobody will ever know its name.
        await this.#loader.unload(name);
        throw new Fault('OperationCanceled', 'Nobody waits for the service any more, so it was ended.');
      }
      return { uri, name };
    } catch (error) {
      this.#created.delete(name);
      throw failureOf(name, error);
    }
  }

  async #entryOf(wish: Received<typeof CreateService>): Promise<ServiceEntry> {
    const { builtin, module, name, host = 'here', contract: kind, state } = wish;
    if ((builtin === undefined) === (module === undefined))
      throw new Fault('MessageNotSupported', 'Create takes either builtin or module. Send one of them.');
    if (builtin !== undefined && !builtInNames().includes(builtin)) {
      const kinds = builtInNames().join(', ');
      throw new Fault('UnknownEntry', `No service of that kind comes with the runtime; there are ${kinds}.`);
    }
    if (name !== undefined && !isName(name)) {
      throw new Fault(
        'OperationFailed',
        'A name has letters, digits, "-", ".", "_" and "~", in parts with "/" between them, 255 characters at most.',
      );
    }
    return {
      name: name ?? generatedName(builtin ?? module ?? ''),
      builtin,
      module: module === undefined ? undefined : await this.#modules.urlOf(module),
      contract: kind,
      host,
      partners: partnersOf(wish.partners),
      state,
    };
  }
}

function partnersOf(
  given: readonly { readonly name: string; readonly uri: string }[],
): Record<string, string> {
  if (given.length > PARTNERS_MAX)
    throw new Fault('InsufficientResources', `A service has at most ${PARTNERS_MAX} partners.`);
  const partners = Object.create(null) as Record<string, string>;
  for (const { name, uri } of given) {
    if (!isName(name) || name in partners)
      throw new Fault('OperationFailed', 'Each partner has a name of its own, as services have.');
    if (!isServiceUri(uri))
      throw new Fault(
        'OperationFailed',
        'A partner is dos://HOST:PORT/NAME, or dos:///NAME for one of this runtime.',
      );
    partners[name] = uri;
  }
  return partners;
}

/** Begins with what it is, so that policies can tell what may be registered: memory/*, camera/*. */
function generatedName(kind: string): string {
  const plain = basename(kind, extname(kind))
    .replace(/[^A-Za-z0-9_-]/g, '-')
    .slice(0, 100);
  return `${plain}/${randomUUID()}`;
}

/** What somebody elsewhere is told: nothing of this machine's paths, which errors of modules are full of. */
function failureOf(name: string, error: unknown): unknown {
  if (error instanceof Fault) return error;
  const why =
    error instanceof SplitplaneError
      ? error.message
      : 'Its module or its start failed; the console says how.';
  return new Fault('OperationFailed', `${name} did not start: ${why}`, [], { cause: error });
}
