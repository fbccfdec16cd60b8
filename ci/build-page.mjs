// Builds the page of the monitor: one HTML document with its style and its script inside, beside the compiled server
// that sends it. The script is bundled from TypeScript that is checked for a browser, with nothing of Node in reach.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import { build } from 'esbuild';

import { ScriptError, main, root, run } from './process.mjs';

const source = path.join(root, 'lib/runtime/monitor/page');
const target = path.join(root, 'dist/lib/runtime/monitor/page.html');
const typecheckTimeoutMs = 5 * 60_000;

/** The text of an entry file with all that it imports. */
async function bundle(entry) {
  const result = await build({
    entryPoints: [path.join(source, entry)],
    absWorkingDir: root,
    bundle: true,
    write: false,
    format: 'iife',
    platform: 'browser',
    // Of these years on, browsers have what the page uses.
    target: ['chrome111', 'firefox113', 'safari16.4'],
    charset: 'utf8',
    legalComments: 'none',
    minifyWhitespace: true,
    minifySyntax: true,
    logLevel: 'warning',
  });
  return result.outputFiles[0].text.trim();
}

/** Puts a text where the document has `<element></element>`. A function, because `$` means something in a string. */
function fill(html, element, text) {
  const empty = `<${element}></${element}>`;
  if (html.split(empty).length !== 2) throw new ScriptError(`page.html must have ${empty} once`);
  if (text.includes(`</${element}`)) throw new ScriptError(`the ${element} would end within itself`);
  return html.replace(empty, () => `<${element}>${text}</${element}>`);
}

await main(async () => {
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  await run(process.execPath, [tsc, '-p', source], { timeoutMs: typecheckTimeoutMs });
  const html = await readFile(path.join(source, 'page.html'), 'utf8');
  const [style, script] = [await bundle('page.css'), await bundle('main.ts')];
  await mkdir(path.dirname(target), { recursive: true });
  await writeFile(target, fill(fill(html, 'style', style), 'script', script));
});
