// The examples that the README shows run as they stand there, and end by themselves.
import { readFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';

const EXAMPLES = [
  {
    name: 'two services exchange a message with a buffer by reference',
    file: 'examples/two-services.ts',
    run: () => import('../../examples/two-services.js'),
    says: ['The brightest pixel is 200.'],
  },
  {
    name: 'a service is asked from beside it and from another runtime',
    file: 'examples/two-runtimes.ts',
    run: () => import('../../examples/two-runtimes.js'),
    says: ['The brightest pixel is 200.', 'The brightest pixel is 200.'],
  },
];
const root = new URL('../../', import.meta.url);
const shown = [...readFileSync(new URL('README.md', root), 'utf8').matchAll(/```ts\n(.*?)```/gs)];

test.each(EXAMPLES)('$name', async ({ run, says }) => {
  const log = vi.spyOn(console, 'log').mockReturnValue(undefined);
  try {
    await run();
    expect(log.mock.calls).toEqual(says.map((line) => [line]));
  } finally {
    log.mockRestore();
  }
});

test('the README shows these examples and no others, importing the package', () => {
  const codes = EXAMPLES.map(({ file }) => {
    const example = readFileSync(new URL(file, root), 'utf8');
    return example
      .slice(example.indexOf('import {'))
      .replace("'../lib/index.js'", "'splitplane'")
      .replace("'../lib/runtime/index.js'", "'splitplane/runtime'");
  });
  expect(shown.map(([, code]) => code)).toEqual(codes);
});
