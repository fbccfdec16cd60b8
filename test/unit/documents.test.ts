// Documents that name what is in the code name what is there: files, the services of every runtime, the kinds that a manifest can name.
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { parseManifest } from '../../lib/runtime/manifest.js';
import { builtInNames } from '../../lib/runtime/services/index.js';
import { OWN_NAMES } from '../../lib/runtime/services/own.js';
import { judge } from '../support/xmllint.js';

const root = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');
const runtime = read('docs/RUNTIME.md');

/** What stands in the first column of a table, by its heading. */
function column(section: string, heading: string): string[] {
  const [, content = ''] = new RegExp(`^## ${section}\n(.*?)^## `, 'ms').exec(runtime) ?? [];
  const rows =
    content
      .slice(content.indexOf(`| ${heading} |`))
      .split('\n\n')[0]
      ?.split('\n') ?? [];
  return rows.slice(2).flatMap((row) => /^\| `([^`]+)`/.exec(row)?.[1] ?? []);
}

test('the steps of the method stand in files that there are', () => {
  const rows = read('docs/ARCHITECTURE.md').match(/^\| 4\d\d.*$/gm) ?? [];
  expect(rows.length).toBeGreaterThan(20);
  for (const row of rows) {
    let folder = '';
    for (const [, path = ''] of row.matchAll(/`([^`]+)`/g)) {
      const whole = path.includes('/') ? path : `${folder}/${path}`;
      expect(existsSync(new URL(whole, root)), `${whole} of: ${row}`).toBe(true);
      folder = dirname(whole);
    }
  }
});

test('the services of every runtime, the kinds of others, and no more', () => {
  expect(column('Built-in services', 'name').sort()).toEqual([...OWN_NAMES].sort());
  expect(column('Built-in services', 'kind').sort()).toEqual([...builtInNames()].sort());
});

test('the manifests that are shown are some', () => {
  const shown = [...runtime.matchAll(/```xml\n([^]*?)```/g)].flatMap(([, text = '']) =>
    text.includes('<manifest') ? [text] : [],
  );
  expect(shown.length).toBeGreaterThanOrEqual(3);
  expect(judge('manifest.xsd', shown)).toEqual(shown.map(() => true));
  for (const text of shown) expect(() => parseManifest(text, 'manifest.xml')).not.toThrow();
});
