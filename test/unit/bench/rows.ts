// What the tests of the benchmark measure instead of real subjects: rows with every field, and subjects that answer at once.
import { UNTOLD } from '../../../bench/measurement.js';
import type {
  Budget,
  Case,
  Environment,
  Row,
  Sample,
  Subject,
  SubjectName,
} from '../../../bench/measurement.js';

export const ENVIRONMENT: Environment = {
  cpuModel: 'a processor',
  cores: 2,
  memoryBytes: 1 << 30,
  kernel: 'Linux',
  node: 'v20',
  date: '2026-01-01T00:00:00.000Z',
  loadAverage1Min: 0,
};

export const BUDGET: Budget = { warmupMs: 0, measureMs: 0, timeoutMs: 1000 };

export function row(fields: Pick<Row, 'subject' | 'metric' | 'size'> & Partial<Row>): Row {
  return {
    suite: 'tcp',
    mode: 'event',
    transport: 'tcp',
    unit: 'GB/s',
    median: 1,
    p99: 1,
    cpuSecondsPerGB: null,
    copiesPerByte: null,
    eventLoopDelayP99Ms: null,
    residentMiB: null,
    rounds: 1,
    environment: ENVIRONMENT,
    commit: null,
    ...fields,
  };
}

/** A subject that gives `samples` one after the other, or throws those that are errors, and notes that it was asked. */
export function scripted(
  name: SubjectName,
  task: Case,
  samples: readonly (Sample | Error)[],
  asked: string[] = [],
): Subject {
  let next = 0;
  return {
    name,
    cases: [task],
    measure: () => {
      asked.push(`${name} ${task.metric}`);
      const sample = samples[next++];
      if (sample === undefined) throw new Error('asked too often');
      return sample instanceof Error ? Promise.reject(sample) : Promise.resolve(sample);
    },
  };
}

export function sample(fields: Pick<Sample, 'median'> & Partial<Sample>): Sample {
  return { ...UNTOLD, ...fields };
}
