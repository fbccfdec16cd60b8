// What the guests' processors are, and what their kernel has to be told because they are emulated: on a busy machine an
// emulated processor is stopped for so long, and at such moments, that what the kernel measures at its start comes out wrong.

import { readFileSync } from 'node:fs';

// Left out because it costs much when emulated and brings nothing here: a fifth level of page tables, access checks that are
// switched around every copy, byte-wise string instructions, and saving wide registers at every switch. Without the last
// one Linux switches protection keys on all the same, and a process that has had a signal does not get its own back: it may not
// read memory behind a key any more. V8 keeps WebAssembly's code and the tables in it there, so node would crash at some time
// after a signal, the end of a child for instance. Hence no protection keys either.
export const processor = 'max,-sse4.2,-la57,-smap,-smep,-erms,-xsave,-avx,-avx2,-pku';

/**
 * The guests' time-stamp counters run as the host's does. The kernel would measure how fast that is, and once in some
 * thirty starts beside other work be wrong several times over; so it is told. Reading time from a device instead would
 * cost microseconds each time.
 */
function clockOptions() {
  // A loop of "bogomips" is two cycles of the time-stamp counter, by which Linux calibrates it.
  const bogomips = /^bogomips\s*:\s*([\d.]+)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1];
  if (bogomips === undefined) return [];
  return ['tsc=reliable', `tsc_early_khz=${Math.round(Number(bogomips) * 500)}`];
}

/** The kernel's command line. */
export function kernelOptions() {
  return [
    'console=ttyS0',
    'quiet',
    // With -no-reboot a panic ends the machine.
    'panic=-1',
    // Nobody spies on anybody here.
    'mitigations=off',
    // Whether the first timer works is found out by waiting for ticks, which may come late.
    'no_timer_check',
    ...clockOptions(),
  ].join(' ');
}
