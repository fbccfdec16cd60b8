// Asks xmllint what it thinks of XML documents by a schema of docs/: a judge that shares no code with this project.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Whether each document is valid by docs/SCHEMA, in the order given. */
export function judge(schema: string, documents: readonly string[]): boolean[] {
  const folder = mkdtempSync(join(tmpdir(), 'judged-'));
  try {
    const files = documents.map((document, index) => {
      const file = join(folder, `${index}.xml`);
      writeFileSync(file, document);
      return file;
    });
    const path = fileURLToPath(new URL(`../../docs/${schema}`, import.meta.url));
    const { stderr, error } = spawnSync('xmllint', ['--noout', '--nonet', '--schema', path, ...files], {
      encoding: 'utf8',
      maxBuffer: 256 << 20,
    });
    if (error !== undefined) throw error;
    const lines = new Set(stderr.split('\n'));
    return files.map((file) => {
      const isValid = lines.has(`${file} validates`);
      // What is not even well-formed is reported as such, without either sentence.
      const isNot = lines.has(`${file} fails to validate`) || stderr.includes(`${file}:`);
      if (isValid === isNot) throw new Error(`xmllint said nothing that is understood:\n${stderr}`);
      return isValid;
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
