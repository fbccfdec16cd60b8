// The page as the build leaves it: one HTML document with its style and its script inside, and the security policy that
// allows just these two. Knows nothing of what the page shows.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SplitplaneError } from '../../errors.js';

const BUILT = 'dist/lib/runtime/monitor/page.html';

export interface PageFile {
  readonly html: Buffer;
  /** The value of Content-Security-Policy. */
  readonly policy: string;
}

/** Reads the page. Rejects with SYSTEM when it is not there, because the package was not built. */
export async function readPage(): Promise<PageFile> {
  // This file lies in lib/runtime/monitor or, compiled, in the same place below dist: the package's root is where
  // binding.gyp is.
  let root = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(root, 'binding.gyp')) && dirname(root) !== root) root = dirname(root);
  const file = join(root, BUILT);
  let html: Buffer;
  try {
    html = await readFile(file);
  } catch (cause) {
    const sentence = `The monitor's page cannot be read from ${file}. Build it (npm run build:ts), or install the package anew.`;
    throw new SplitplaneError('SYSTEM', sentence, { cause });
  }
  return { html, policy: policyFor(html.toString()) };
}

function policyFor(html: string): string {
  const hash = (element: string): string => {
    const text = new RegExp(`<${element}>(.*?)</${element}>`, 's').exec(html)?.[1] ?? '';
    return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  };
  return [
    "default-src 'none'",
    `script-src ${hash('script')}`,
    `style-src ${hash('style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    // Whatever names and problems contain: no script of the page may turn text into markup.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');
}
