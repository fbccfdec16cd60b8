/**
 * Colours of the figures, one for each subject in every figure, for light and for dark: distinguishable with the common kinds of
 * colour blindness (hues after Okabe and Ito), and never the only sign, for lines and dots carry their names. It draws nothing.
 */
import type { SubjectName } from '../measurement.js';

interface Shades {
  readonly light: string;
  readonly dark: string;
}

const SUBJECT_SHADES: Readonly<Record<SubjectName, Shades>> = {
  splitplane: { light: '#d9480f', dark: '#ff8a5c' },
  c: { light: '#343a46', dark: '#d5dae4' },
  'c-memory': { light: '#343a46', dark: '#d5dae4' },
  iperf3: { light: '#7d7100', dark: '#d8c94e' },
  ucx: { light: '#0b66b0', dark: '#62b1f2' },
  libfabric: { light: '#3b8fc4', dark: '#a3d8ff' },
  'node:net': { light: '#0a8262', dark: '#43cfa2' },
  zeromq: { light: '#ae3f85', dark: '#ee90c6' },
  grpc: { light: '#6f4fc0', dark: '#b9a0f5' },
  'grpc-tuned': { light: '#8f76cf', dark: '#d3c4fb' },
  http1: { light: '#96690a', dark: '#f0b748' },
  http2: { light: '#b48a35', dark: '#fbd68d' },
  perftest: { light: '#343a46', dark: '#d5dae4' },
  manager: { light: '#5b6475', dark: '#aab3c5' },
  messageport: { light: '#12858c', dark: '#55d3d6' },
};

/** What else has a colour: surfaces, ink, rules and verdicts. */
const SURFACES: Readonly<Record<string, Shades>> = {
  page: { light: '#f6f6f4', dark: '#0f1217' },
  paper: { light: '#ffffff', dark: '#171b22' },
  ink: { light: '#1c2129', dark: '#e8ebf0' },
  soft: { light: '#5d6675', dark: '#9aa4b5' },
  rule: { light: '#e3e5e8', dark: '#2a303a' },
  good: { light: '#0a7a4f', dark: '#4fd19c' },
  bad: { light: '#b42318', dark: '#ff8f85' },
};

function nameOf(subject: SubjectName): string {
  return `--${subject.replace(/[^a-z0-9]/g, '-')}`;
}

/** For `fill` and `stroke`. */
export function colorOf(subject: SubjectName): string {
  return `var(${nameOf(subject)})`;
}

/** The custom properties that everything is coloured with, as the content of a style sheet. */
export function paletteCss(): string {
  const shades: [string, Shades][] = [
    ...Object.entries(SURFACES).map(([name, each]): [string, Shades] => [`--${name}`, each]),
    ...Object.entries(SUBJECT_SHADES).map(([name, each]): [string, Shades] => [
      nameOf(name as SubjectName),
      each,
    ]),
  ];
  const declare = (theme: keyof Shades) => shades.map(([name, each]) => `${name}:${each[theme]}`).join(';');
  return (
    `:root{color-scheme:light dark;${declare('light')}}` +
    `@media (prefers-color-scheme:dark){:root{${declare('dark')}}}`
  );
}
