// Findings as people read them: aligned, in colour on a terminal that has it, what to do below what was seen; or as JSON lines.
import { styleText } from 'node:util';
import { print, printJson } from '../terminal.js';
import { counted, type Finding, type Place, type Status } from './finding.js';

const COLOURS = { ok: 'green', warning: 'yellow', problem: 'red', skipped: 'gray' } as const;
/** Columns of the status and of the id, which stand before what was seen. */
const STATUS_COLUMNS = 9;
const ID_COLUMNS = 15;
const INDENT = STATUS_COLUMNS + ID_COLUMNS;
/** A line of text is not longer, even on a wide terminal; where there is none, it is not broken. */
const LINE_COLUMNS_MAX = 110;
const LINE_COLUMNS_MIN = INDENT + 30;

export function printFindings(findings: readonly Finding[], host: string | undefined): void {
  const headings: Readonly<Record<Place, string>> = {
    here: 'This host',
    between: `From here to ${host ?? ''}`,
    there: `What ${host ?? ''} finds at its end, in its own words`,
  };
  for (const place of ['here', 'between', 'there'] as const) {
    const mine = findings.filter(({ where }) => where === place);
    if (mine.length === 0) continue;
    print(styled('bold', headings[place]));
    for (const finding of mine) printFinding(finding);
    print('');
  }
  print(summary(findings));
}

export function printFindingsJson(findings: readonly Finding[]): void {
  for (const finding of findings) printJson(finding);
}

function printFinding({ id, status, subject, seen, advice, commands = [] }: Finding): void {
  const about = subject === undefined ? seen : `${subject}: ${seen}`;
  const head = `${styled(COLOURS[status], status.padEnd(STATUS_COLUMNS))}${id.padEnd(ID_COLUMNS)}`;
  const [first = '', ...others] = wrapped(about);
  print(`${head}${status === 'skipped' ? styled('gray', first) : first}`);
  const indent = ' '.repeat(INDENT);
  for (const line of others) print(`${indent}${status === 'skipped' ? styled('gray', line) : line}`);
  for (const line of advice === undefined ? [] : wrapped(`→ ${advice}`)) print(`${indent}${line}`);
  for (const command of commands) print(`${indent}  ${styled('cyan', `$ ${command}`)}`);
}

function summary(findings: readonly Finding[]): string {
  const count = (wanted: Status): number => findings.filter(({ status }) => status === wanted).length;
  const [problems, warnings] = [count('problem'), count('warning')];
  if (problems === 0 && warnings === 0) return styled('green', 'Nothing is wrong.');
  const told = [
    ...(problems > 0 ? [styled('red', counted(problems, 'problem'))] : []),
    ...(warnings > 0 ? [styled('yellow', counted(warnings, 'warning'))] : []),
  ];
  return `${told.join(', ')}.${problems > 0 ? ' Begin with the first: those below often follow from it.' : ''}`;
}

function styled(format: Parameters<typeof styleText>[0], text: string): string {
  // hasColors() heeds NO_COLOR and TERM.
  return process.stdout.isTTY && process.stdout.hasColors() ? styleText(format, text) : text;
}

/** The text in lines that fit the terminal behind the indent. */
function wrapped(text: string): string[] {
  if (!process.stdout.isTTY) return [text];
  const columns = Math.max(LINE_COLUMNS_MIN, Math.min(LINE_COLUMNS_MAX, process.stdout.columns)) - INDENT;
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
