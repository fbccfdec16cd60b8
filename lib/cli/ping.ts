// `splitplane ping HOST`: round trips of a message with a payload, one line each, like ping(8).
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { Client } from './client.js';
import {
  addConnectingOptions,
  byteCount,
  checkAddress,
  interruptible,
  seconds,
  wholeNumber,
  type ConnectingOptions,
} from './options.js';
import { PING_BYTES_MAX } from './perf/limits.js';
import { touched } from './perf/server.js';
import { ping } from './perf/traffic.js';
import { ascending, quantile } from './statistics.js';
import { print, printJson } from './terminal.js';

const HELP = `
A payload of up to 4096 bytes travels inside the message; a larger one by reference, both ways.
Without --count it goes on until Ctrl-C, and then says what it found.

Examples:
  splitplane ping 127.0.0.1
  splitplane ping 127.0.0.1:7350 --count 10 --interval 0.1
  splitplane ping unix:/run/splitplane.sock --size 1M --poll adaptive
  splitplane ping 127.0.0.1 --count 1000 --interval 0 --json | tail -1`;

const DAY_SECONDS = 86_400;
/** Round trips kept for the statistics; the earliest are forgotten first. */
const TIMES_MAX = 1 << 20;

interface PingOptions extends ConnectingOptions {
  readonly size: number;
  readonly count: number;
  readonly interval: number;
}

export function pingCommand(): Command {
  const command = new Command('ping')
    .description('measure the round trip of a message')
    .argument('<host>', 'where `splitplane serve` listens')
    .option('--size <bytes>', 'payload of each message', byteCount(1, PING_BYTES_MAX), 64)
    .option('--count <n>', 'stop after so many', wholeNumber(1, Number.MAX_SAFE_INTEGER), Infinity)
    .option('--interval <seconds>', 'from one to the next', seconds(0, DAY_SECONDS), 1);
  return addConnectingOptions(command, 'one JSON line per answer, and one of statistics')
    .addHelpText('after', HELP)
    .action(run);
}

async function run(host: string, options: PingOptions): Promise<void> {
  checkAddress(host);
  const { json } = options;
  // Whoever ends it before it has begun gets nothing, and the exit code says so; afterwards, it is how it usually ends.
  await interruptible(json, (signal) => pingUntilTold(host, options, signal), { withReader: true });
}

async function pingUntilTold(host: string, options: PingOptions, signal: AbortSignal): Promise<void> {
  const { size, count, interval, json } = options;
  using client = await Client.connect(host, options, signal);
  const { transport, encoding, remoteAddress } = client.connection.facts;
  if (!json) print(`PING ${client.peerName} over ${transport}, ${encoding}: ${size} bytes of payload`);
  const times = new Times();
  using payload = touched(client.connection, size);
  try {
    for (let sequence = 1; sequence <= count; sequence++) {
      const timeMs = await times.take(() => ping(client, payload, 'ping', signal));
      if (json) printJson({ sequence, bytes: size, timeMs: Number(milliseconds(timeMs)) });
      else print(`${size} bytes from ${remoteAddress}: seq=${sequence} time=${milliseconds(timeMs)} ms`);
      if (sequence < count) await delay(Math.max(0, interval * 1000 - timeMs), undefined, { signal });
    }
    await client.close();
  } catch (error) {
    // Ctrl-C is how it usually ends.
    if (!signal.aborted) throw error;
  } finally {
    times.print(host, json);
  }
}

/** Round trips and what can be said of them. */
class Times {
  readonly #begin = performance.now();
  readonly #times: number[] = [];
  #asked = 0;
  #answered = 0;

  /** Milliseconds that `act` took. */
  async take(act: () => Promise<void>): Promise<number> {
    this.#asked++;
    const begin = performance.now();
    await act();
    const timeMs = performance.now() - begin;
    this.#times[this.#answered++ % TIMES_MAX] = timeMs;
    return timeMs;
  }

  print(host: string, json: boolean): void {
    const sorted = ascending(this.#times);
    const average = sorted.reduce((sum, time) => sum + time, 0) / sorted.length;
    const [min, avg, max, p99] = [
      quantile(sorted, 0),
      average,
      quantile(sorted, 1),
      quantile(sorted, 0.99),
    ].map(milliseconds);
    const [asked, answered] = [this.#asked, this.#answered];
    if (json) {
      const times =
        answered === 0
          ? {}
          : { minMs: Number(min), avgMs: Number(avg), maxMs: Number(max), p99Ms: Number(p99) };
      printJson({ statistics: { asked, answered, ...times } });
      return;
    }
    print(`--- ${host} ping statistics ---`);
    print(`${asked} asked, ${answered} answered, time ${(performance.now() - this.#begin).toFixed(0)} ms`);
    if (answered > 0) print(`rtt min/avg/max/p99 = ${min}/${avg}/${max}/${p99} ms`);
  }
}

function milliseconds(value: number): string {
  return value.toFixed(3);
}
