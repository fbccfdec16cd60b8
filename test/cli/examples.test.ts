// The example that the README shows runs as it stands there, and ends by itself.
import { readFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';

test('two services exchange a message with a buffer by reference', async () => {
  const log = vi.spyOn(console, 'log').mockReturnValue(undefined);
  try {
    await import('../../examples/two-services.js');
    expect(log.mock.calls).toEqual([['The brightest pixel is 200.']]);
  } finally {
    log.mockRestore();
  }
});

test('the README shows that example, importing the package', () => {
  const root = new URL('../../', import.meta.url);
  const example = readFileSync(new URL('examples/two-services.ts', root), 'utf8');
  const shown = /```ts\n(.*?)```/s.exec(readFileSync(new URL('README.md', root), 'utf8'))?.[1];
  const code = example.slice(example.indexOf('import {')).replace("'../lib/index.js'", "'splitplane'");
  expect(shown).toBe(code);
});
