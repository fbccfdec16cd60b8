// Proves that what perftest prints is read as what it means: the line below its heading, and an error where there is none.
import { expect, test } from 'vitest';
import { parseFigures } from '../../../bench/peers/perftest.js';

test('the figures of a bandwidth test', () => {
  const printed = `
---------------------------------------------------------------------------------------
 #bytes     #iterations    BW peak[MB/sec]    BW average[MB/sec]   MsgRate[Mpps]
 1048576    100              96.96              59.02  \t\t   0.000059
---------------------------------------------------------------------------------------
0.512000
`;
  expect(parseFigures(printed)).toEqual([1_048_576, 100, 96.96, 59.02, 0.000059]);
});

test('the figures of a latency test', () => {
  const printed = `
 #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec]
 64      500          10.61          18135.76      11.17    \t       195.31      \t1410.93\t\t10200.40 \t\t18135.76
`;
  expect(parseFigures(printed)).toEqual([
    64, 500, 10.61, 18135.76, 11.17, 195.31, 1410.93, 10200.4, 18135.76,
  ]);
});

test.each([
  ['nothing', ''],
  ['a heading alone', ' #bytes #iterations t_min[usec]\n'],
  ['words where figures belong', ' #bytes #iterations\n 64 500 nan nan nan\n'],
])('%s is an error that shows it', (_, printed) => {
  expect(() => parseFigures(printed)).toThrow(/perftest printed no result/);
});
