// What can be wrong behind a manifest that is right in itself: its policy, the files of its modules, the names of built-in
// services. Looks, and runs nothing of it.
import { access } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { SplitplaneError } from '../../errors.js';
import { DocumentError, type Problem } from '../../runtime/document.js';
import type { Manifest, ServiceEntry } from '../../runtime/manifest.js';
import { readPolicy } from '../../runtime/policy.js';
import { builtInService } from '../../runtime/services/index.js';

/** Something wrong in a file. */
export interface FileProblem extends Problem {
  readonly file: string;
}

const BEGINNING = { line: 1, column: 1 };

/** Everything that is found. Rejects with SYSTEM where the policy cannot be read. */
export async function problemsBehind({ source, security, services }: Manifest): Promise<FileProblem[]> {
  const problems = security.off ? [] : await problemsOfPolicy(security.policy);
  for (const service of services) {
    const message = await problemOf(service);
    if (message !== undefined) problems.push({ file: source, ...(service.at ?? BEGINNING), message });
  }
  return problems;
}

async function problemsOfPolicy(path: string): Promise<FileProblem[]> {
  try {
    if ((await readPolicy(path)) !== undefined) return [];
    const message =
      'There is no such policy, so nothing is allowed. Write one, or turn security off in the manifest.';
    return [{ file: path, ...BEGINNING, message }];
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    return error.problems.map((problem) => ({ file: path, ...problem }));
  }
}

async function problemOf({ name, module, builtin }: ServiceEntry): Promise<string | undefined> {
  if (module !== undefined) {
    const path = fileURLToPath(module);
    const found = await access(path).then(
      () => true,
      () => false,
    );
    return found ? undefined : `The module of ${name}, ${path}, cannot be read. Correct its path.`;
  }
  try {
    builtInService(builtin ?? '');
    return undefined;
  } catch (error) {
    if (error instanceof SplitplaneError) return error.message;
    throw error;
  }
}
