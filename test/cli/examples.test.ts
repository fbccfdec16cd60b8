// The example that the README shows runs as it stands there, and ends by itself.
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
