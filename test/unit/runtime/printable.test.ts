// Text that others chose, where people read it.
import { expect, test } from 'vitest';
import { printable, printableLine } from '../../../lib/runtime/printable.js';

test('nothing that commands a terminal, turns the writing or is no character is left', () => {
  expect(printable('a\tb\nc \u001b[2J\u0007\u009b \u202e\u2066 \u2028 \ud800 \uffff')).toBe(
    'a\tb\nc \ufffd[2J\ufffd\ufffd \ufffd\ufffd \ufffd \ufffd \ufffd',
  );
  expect(printable('0123456789', 4)).toBe('0123...');
});

// Goal: nobody's name or reason looks like a line of ours.
test('a line is one line', () => {
  expect(printableLine('refused\n\ndone: \u001b[32mok\r\n\tall')).toBe(
    'refused done: \ufffd[32mok\ufffd all',
  );
});
