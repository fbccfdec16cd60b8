// Services from the modules that export them, and from those that come with the runtime. Knows nothing of where they run.
import { basename } from 'node:path';
import { SplitplaneError } from '../errors.js';
import type { ServiceEntry } from './manifest.js';
import { builtInService } from './services/index.js';
import { Service, type AnyService } from './service.js';

/** Makes what an entry of a manifest names. Rejects when it is no service, or one of another contract. */
export async function makeService(
  entry: Pick<ServiceEntry, 'name' | 'module' | 'builtin' | 'contract'>,
): Promise<AnyService> {
  const service =
    entry.module === undefined ? builtInService(entry.builtin ?? '') : await importService(entry.module);
  const { uri } = service.contract as { uri: string };
  if (entry.contract === undefined || entry.contract === uri) return service;
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    `${entry.name} has the contract ${uri}, not ${entry.contract}.`,
  );
}

async function importDefault(module: string): Promise<unknown> {
  try {
    return ((await import(module)) as { readonly default?: unknown }).default;
  } catch (cause) {
    const missing = (cause as { readonly code?: unknown }).code === 'ERR_MODULE_NOT_FOUND';
    if (!missing || (cause as { readonly url?: unknown }).url !== module.split('?')[0]) throw cause;
    throw new SplitplaneError('INVALID_ARGUMENT', `There is no module ${basename(module)}. Check its path.`, {
      cause,
    });
  }
}

/** Makes the service that a module exports. Rejects with INVALID_ARGUMENT for a module that exports none. */
export async function importService(module: string): Promise<AnyService> {
  const exported = await importDefault(module);
  const service: unknown = typeof exported === 'function' ? new (exported as new () => unknown)() : undefined;
  if (service instanceof Service) return service as AnyService;
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    // Whoever asked for it may be told; where it lies on this machine he need not know.
    `${basename(module)} does not export a class that extends Service as its default.`,
  );
}
