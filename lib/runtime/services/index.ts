// The services that come with the runtime and that a manifest loads by name. One file for each beside this one.
import { SplitplaneError } from '../../errors.js';
import type { AnyService } from '../service.js';
import { FilesService } from './files/service.js';
import { MemoryService } from './memory.js';

const BUILT_IN: Readonly<Record<string, () => AnyService>> = {
  files: () => new FilesService(),
  memory: () => new MemoryService(),
};

/** The kinds there are. */
export function builtInNames(): readonly string[] {
  return Object.keys(BUILT_IN);
}

/** A new service of this kind. Throws INVALID_ARGUMENT for a name that none has. */
export function builtInService(name: string): AnyService {
  const make = Object.hasOwn(BUILT_IN, name) ? BUILT_IN[name] : undefined;
  if (make !== undefined) return make();
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    `No built-in service is called ${name}; there are ${builtInNames().join(', ')}.`,
  );
}
