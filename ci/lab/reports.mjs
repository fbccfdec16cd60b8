// Counts the tests in the reports of suites that ran on hosts of the laboratory: JSON files in its folder for results, as
// vitest and googletest write them.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

import { ScriptError } from '../process.mjs';

/** Counts by result what a vitest JSON report holds. */
export function countVitest(report) {
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = report;
  return { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests + numTodoTests };
}

/** Counts by result what a googletest JSON report holds. */
export function countGoogletest(report) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const suite of report.testsuites) {
    for (const test of suite.testsuite) {
      if (test.failures) counts.failed += 1;
      else if (test.result === 'COMPLETED') counts.passed += 1;
      else counts.skipped += 1;
    }
  }
  return counts;
}

function countFile(file) {
  let report;
  try {
    report = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new ScriptError(`${file} was not written to its end: ${error.message}`);
  }
  if ('numPassedTests' in report) return countVitest(report);
  if ('testsuites' in report) return countGoogletest(report);
  return { passed: 0, failed: 0, skipped: 0 };
}

/** { passed, failed, skipped } over all *.json below `directory`, where files of other kinds count nothing. */
export function countReports(directory) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  if (!existsSync(directory)) return total;
  for (const name of readdirSync(directory, { recursive: true })) {
    if (!name.endsWith('.json')) continue;
    const counts = countFile(path.join(directory, name));
    for (const key of Object.keys(total)) total[key] += counts[key];
  }
  return total;
}
