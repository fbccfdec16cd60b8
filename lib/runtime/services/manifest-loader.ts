// The manifest loader: checks a manifest that comes as a message, and loads its services beside those that run here. It adds services
// and nothing else: what a manifest says of security, networks and monitors holds where a runtime is started from it.
import { SplitplaneError } from '../../errors.js';
import { contract, Insert, Query } from '../contract.js';
import type { Problem } from '../document.js';
import { Fault } from '../fault.js';
import type { LoadOutcome, ServiceLoader } from '../loader.js';
import { ManifestError, parseManifest, type Manifest, type ServiceEntry } from '../manifest.js';
import { fileURLToPath } from 'node:url';
import { printable } from '../printable.js';
import { Service, type Call, type Handlers } from '../service.js';
import { body, choice, integer, list, optional, record, text, type Sending } from '../shape.js';
import type { JudgeRegistration } from '../uri-manager.js';
import type { ModuleFolder } from './module-folder.js';
import { Page } from './page.js';

/** Services of one manifest that comes as a message. */
export const INSERTED_SERVICES_MAX = 1000;
/** Problems of a manifest that are told. */
export const PROBLEMS_MAX = 200;
/** UTF-16 units of what is said of one service or problem. */
const SENTENCE_LENGTH_MAX = 500;

const ManifestText = body('Manifest', { text: text() });
const Loaded = body('ManifestResponse', {
  /** The manifest's name. */
  name: text(),
  /** In the order of the manifest. */
  services: list(
    record({
      name: text(),
      state: choice('running', 'failed'),
      /** Where it runs. */
      uri: optional(text()),
      /** Why it does not. */
      problem: optional(text()),
    }),
  ),
  /** How many more there are, of which the directory tells. */
  unlisted: integer(0),
});
const Checked = body('CheckResponse', {
  problems: list(record({ line: integer(1), column: integer(1), message: text() })),
  unlisted: integer(0),
});

/**
 * `load` settles when every service has started or failed; one that fails leaves the others alone. A manifest with problems loads
 * nothing: OperationFailed. Who asks must have the right to register each name. `check` tells the problems of a manifest, and
 * loads nothing in any case. Modules are found from the folder of the manifest that the runtime was started with, and below it.
 */
export const ManifestLoader = contract('urn:splitplane:manifest-loader:1', {
  operations: {
    load: Insert(ManifestText, Loaded),
    check: Query(body('Check', { text: text() }), Checked),
  },
});

/** What the manifest loader does to the runtime. */
export type LoadsAll = Pick<ServiceLoader, 'loadAll'>;

export class ManifestLoaderService extends Service<typeof ManifestLoader> {
  readonly contract = ManifestLoader;
  /** A service that has a manifest loaded while it starts must not wait for itself. */
  override readonly concurrency = 'concurrent';
  readonly #loader: LoadsAll;
  readonly #mayRegister: JudgeRegistration;
  readonly #modules: ModuleFolder;

  readonly handlers: Handlers<typeof ManifestLoader> = {
    load: (call) => this.#load(call),
    check: ({ body }) => {
      const problems = this.#problemsOf(body.text);
      const page = new Page<Problem>(PROBLEMS_MAX);
      problems.map(told).every((problem) => page.add(problem, problem.message));
      return { problems: page.items, unlisted: problems.length - page.items.length };
    },
  };

  constructor(loader: LoadsAll, mayRegister: JudgeRegistration, modules: ModuleFolder) {
    super();
    this.#loader = loader;
    this.#mayRegister = mayRegister;
    this.#modules = modules;
  }

  async #load({ body: { text: source }, from }: Call<{ readonly text: string }>) {
    const manifest = this.#read(source);
    const outcomes = new Map<ServiceEntry, LoadOutcome>();
    const entries: ServiceEntry[] = [];
    for (const entry of manifest.services) {
      try {
        entries.push(await this.#permitted(entry, from));
      } catch (error) {
        outcomes.set(entry, { entry, error });
      }
    }
    const loaded = await this.#loader.loadAll(entries);
    const page = new Page<Outcome>(INSERTED_SERVICES_MAX);
    const byName = new Map(loaded.map((outcome) => [outcome.entry.name, outcome]));
    manifest.services
      .map((entry) => toldOf(outcomes.get(entry) ?? byName.get(entry.name) ?? { entry }))
      .every((outcome) => page.add(outcome, outcome.name, outcome.uri, outcome.problem));
    return {
      name: manifest.name,
      services: page.items,
      unlisted: manifest.services.length - page.items.length,
    };
  }

  /** The manifest, if nothing is wrong with it. Throws Fault OperationFailed. */
  #read(source: string): Manifest {
    try {
      const manifest = this.#parse(source);
      const [problem] = objectionsTo(manifest, this.#modules);
      if (problem === undefined) return manifest;
      throw new Fault('OperationFailed', sentenceOf([problem]));
    } catch (error) {
      if (error instanceof ManifestError) throw new Fault('OperationFailed', sentenceOf(error.problems));
      throw error;
    }
  }

  #problemsOf(source: string): readonly Problem[] {
    try {
      return objectionsTo(this.#parse(source), this.#modules);
    } catch (error) {
      if (error instanceof ManifestError) return error.problems;
      throw error;
    }
  }

  #parse(source: string): Manifest {
    return parseManifest(source, this.#modules.fileCalled(MESSAGE));
  }

  /** The entry as it may be loaded for somebody. Rejects with Fault. */
  async #permitted(entry: ServiceEntry, from: string): Promise<ServiceEntry> {
    const { allowed, reason } = this.#mayRegister(from, entry.name);
    if (!allowed) throw new Fault('PermissionDenied', reason);
    if (entry.module === undefined) return entry;
    return { ...entry, module: await this.#modules.urlOf(fileURLToPath(entry.module)) };
  }
}

type Outcome = Sending<typeof Loaded>['services'][number];

/** What a manifest that comes in a message is called where a file name is wanted. */
const MESSAGE = 'message';

/** What cannot be in a manifest that is loaded into a runtime that runs. */
function objectionsTo({ security, network, monitor, services }: Manifest, modules: ModuleFolder): Problem[] {
  const problems: Problem[] = [];
  const object = (message: string, place = { line: 1, column: 1 }): void => {
    problems.push({ ...place, message });
  };
  const absent =
    !security.off && security.audit === undefined && security.policy === modules.fileCalled('policy.xml');
  if (!absent) object('This runtime has its security already. Take <security> out.');
  if (network !== undefined) object('This runtime has its network binding, or none. Take <network> out.');
  if (monitor !== undefined) object('This runtime has its monitor, or none. Take <monitor> out.');
  if (services.length > INSERTED_SERVICES_MAX) {
    object(`${INSERTED_SERVICES_MAX} services are the most in one message. Send several.`);
  }
  return problems;
}

function toldOf({ entry: { name }, uri, error }: LoadOutcome): Outcome {
  if (uri !== undefined) return { name, state: 'running', uri };
  const problem =
    error instanceof SplitplaneError
      ? error.message
      : 'Its module or its start failed; the console says how.';
  return { name, state: 'failed', problem: printable(problem, SENTENCE_LENGTH_MAX) };
}

function told({ line, column, message }: Problem): Problem {
  return { line, column, message: printable(message, SENTENCE_LENGTH_MAX) };
}

function sentenceOf(problems: readonly Problem[]): string {
  const [first] = problems;
  const more = problems.length > 1 ? ` There are ${problems.length - 1} more: check the manifest.` : '';
  return (
    printable(`Line ${first?.line}, column ${first?.column}: ${first?.message}`, SENTENCE_LENGTH_MAX) + more
  );
}
