// The services that are part of every runtime and stand at their names before any of a manifest does: who may ask them what is the
// policy's affair. Each is given what it needs of the runtime and no more.
import type { Journal } from '../journal.js';
import type { ServiceLoader } from '../loader.js';
import type { AnyService } from '../service.js';
import type { SecurityManager } from '../security-manager.js';
import type { JudgeRegistration } from '../uri-manager.js';
import { ConsoleService } from './console.js';
import { ConstructorService } from './constructor.js';
import { DirectoryService } from './directory.js';
import { ManifestLoaderService } from './manifest-loader.js';
import { ModuleFolder } from './module-folder.js';
import { NodeService, type NodeFacts } from './node.js';
import { SecurityService } from './security.js';
import { UriManagerService, type NameTable } from './uri-manager.js';

/** What a runtime lends to its own services. */
export interface OwnAccess {
  readonly journal: Journal;
  readonly loader: ServiceLoader;
  readonly names: NameTable;
  readonly node: NodeFacts;
  readonly security: SecurityManager;
  /** The folder of the manifest, absolute; undefined where there is none. */
  readonly folder: string | undefined;
}

/** What they are called, in the order in which they are loaded. */
export const OWN_NAMES = [
  'console',
  'node',
  'security',
  'uri-manager',
  'directory',
  'constructor',
  'manifest-loader',
] as const;

/** New ones, by their names. */
export function ownServices(access: OwnAccess): Readonly<Record<(typeof OWN_NAMES)[number], AnyService>> {
  const { journal, loader, names, node, security, folder } = access;
  const modules = new ModuleFolder(folder);
  const mayRegister: JudgeRegistration = (principal, name) => security.registration(principal, name);
  return {
    console: new ConsoleService(journal),
    node: new NodeService(node),
    security: new SecurityService(security, (name) => names.named(name)?.contract),
    'uri-manager': new UriManagerService(names, (name) => loader.unload(name)),
    directory: new DirectoryService(loader),
    constructor: new ConstructorService(loader, mayRegister, modules),
    'manifest-loader': new ManifestLoaderService(loader, mayRegister, modules),
  };
}
