// Proves that memory that no Buffer can be as long as is refused by name: before anything is set aside for it, and, where the engine
// has it all the same, without ending the process.
import { constants } from 'node:buffer';
import { afterEach, expect, test, type TestContext } from 'vitest';
import { Dataplane, type SessionHandler } from '../../../lib/dataplane/dataplane.js';
import { Memory } from '../../../lib/dataplane/memory.js';
import { native, type NativeEngine } from '../../../lib/dataplane/native.js';
import { SharedBlocks } from '../../../lib/dataplane/shared-blocks.js';
import { completeOptions } from '../../../lib/network/options.js';
import { code, failure, turns } from '../../support/events.js';

const TOO_LONG = constants.MAX_LENGTH + 1;
/** Later versions of Node.js have Buffers as long as a number can say. */
function skipWithoutLimit(context: TestContext): void {
  if (!Number.isSafeInteger(TOO_LONG)) context.skip('a Buffer can be as long as a number can say');
}

const open: Dataplane[] = [];
afterEach(() => {
  for (const dataplane of open.splice(0)) dataplane.shutdown();
});

function makeMemory(): Memory {
  const options = { ...completeOptions({}), encodings: ['xml'], onLeak: () => undefined };
  const dataplane = new Dataplane(options, {} as SessionHandler);
  open.push(dataplane);
  return dataplane.memory;
}

test('a length beyond the limit is refused before the engine is asked', async (context) => {
  skipWithoutLimit(context);
  const memory = makeMemory();
  const refused = await failure(() => memory.allocate(TOO_LONG));
  expect(refused.code).toBe('LIMIT_EXCEEDED');
  expect(refused.message).toContain(String(constants.MAX_LENGTH));
  expect(memory.view(1, 'A'.repeat(43), 0, TOO_LONG)).toBeUndefined();
  expect(memory.counters).toMatchObject({ allocations: 0, slabs: 0 });
});

// A peer's slab can be longer than the part of it that is looked at; only the engine knows.
test('memory that cannot be shown is an error, and its memory is given back', async (context) => {
  skipWithoutLimit(context);
  const { engine } = makeMemory();
  const handle = engine.allocate(TOO_LONG, 0);
  const shown = (longest: number) => (): unknown => native(() => engine.regionBuffer(1, longest));
  expect(await code(shown(constants.MAX_LENGTH))).toBe('LIMIT_EXCEEDED');
  // And where Node.js is asked after all, because its limit is another than it says.
  expect(await code(shown(Number.MAX_SAFE_INTEGER))).toBe('UNSUPPORTED');
  await turns();
  engine.release(handle, 0);
  expect(engine.stats().memory).toMatchObject({ buffers: 0 });
});

test('memory that the engine hands out and cannot be shown goes back to it', async () => {
  const released: number[] = [];
  const engine = {
    allocate: () => 7,
    regionBuffer: () => {
      throw Object.assign(new Error('the memory is too long'), { code: 'LIMIT_EXCEEDED' });
    },
    release: (handle: number) => released.push(handle),
  } as unknown as NativeEngine;
  const memory = new Memory(engine, new SharedBlocks(4096), () => undefined);
  expect(await code(() => memory.allocate(100))).toBe('LIMIT_EXCEEDED');
  expect(released).toEqual([7]);
  memory.close();
});
