// The services that are part of every runtime and stand at their names before any of a manifest does: who may ask them what is the
// policy's affair. Each is given what it needs of the runtime and no more.
import type { Journal } from '../journal.js';
import type { AnyService } from '../service.js';
import { ConsoleService } from './console.js';
import { DirectoryService, type Listed } from './directory.js';
import { NodeService, type NodeFacts } from './node.js';

/** What a runtime lends to its own services. */
export interface OwnAccess {
  readonly journal: Journal;
  readonly services: Listed;
  readonly node: NodeFacts;
}

/** What they are called, in the order in which they are loaded. */
export const OWN_NAMES = ['console', 'node', 'directory'] as const;

/** New ones, by their names. */
export function ownServices({
  journal,
  services,
  node,
}: OwnAccess): Readonly<Record<(typeof OWN_NAMES)[number], AnyService>> {
  return {
    console: new ConsoleService(journal),
    node: new NodeService(node),
    directory: new DirectoryService(services),
  };
}
