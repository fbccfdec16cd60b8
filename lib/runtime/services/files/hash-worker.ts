// The thread that computes digests: reads what its jobs' files hold up to where it may, a piece of each job in turn, so
// that a large file does not keep a small one waiting. It uses descriptors of the main thread, which closes them only
// when their job has ended.
import { createHash, type Hash } from 'node:crypto';
import { readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import type { FromHasher, ToHasher } from './hashes.js';

const PIECE_BYTES = 1 << 20;

interface Job {
  readonly fd: number;
  readonly hash: Hash;
  at: number;
  upTo: number;
  /** How far the digests go that are asked for, in the order of asking. */
  readonly asked: number[];
}

const jobs = new Map<number, Job>();
const piece = Buffer.allocUnsafe(PIECE_BYTES);
let running = false;

function tell(message: FromHasher): void {
  parentPort?.postMessage(message);
}

parentPort?.on('message', (message: ToHasher) => {
  switch (message.kind) {
    case 'begin':
      jobs.set(message.job, { fd: message.fd, hash: createHash('sha256'), at: 0, upTo: 0, asked: [] });
      return;
    case 'advance': {
      const job = jobs.get(message.job);
      if (job !== undefined) job.upTo = message.upTo;
      break;
    }
    case 'ask': {
      const job = jobs.get(message.job);
      job?.asked.push(job.upTo);
      break;
    }
    case 'end':
      jobs.delete(message.job);
      tell({ kind: 'ended', job: message.job });
      return;
  }
  if (!running) {
    running = true;
    setImmediate(round);
  }
});

/** One piece of every job that has something to do. */
function round(): void {
  let busy = false;
  for (const [number, job] of jobs) {
    try {
      if (job.at < job.upTo) read(job);
      while (job.asked[0] === job.at) {
        job.asked.shift();
        tell({ kind: 'digest', job: number, sha256: job.hash.copy().digest('hex') });
      }
      busy ||= job.at < job.upTo;
    } catch (error) {
      jobs.delete(number);
      tell({ kind: 'failed', job: number, errno: (error as NodeJS.ErrnoException).code });
    }
  }
  running = busy;
  if (busy) setImmediate(round);
}

/** Stops at each length that is asked for. */
function read(job: Job): void {
  const limit = Math.min(job.asked[0] ?? job.upTo, job.upTo);
  const wanted = Math.min(PIECE_BYTES, limit - job.at);
  const got = readSync(job.fd, piece, 0, wanted, job.at);
  if (got === 0) throw new Error('the file is shorter than it was');
  job.hash.update(piece.subarray(0, got));
  job.at += got;
}
