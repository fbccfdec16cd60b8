/**
 * What a figure is, before it is drawn: its words, its axes, and what stands on them. It must not know how rows become figures, nor
 * how figures become pictures.
 */
import type { Row, SubjectName } from '../measurement.js';

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly row: Row;
}

/** One subject in one mode. */
export interface Series {
  readonly subject: SubjectName;
  readonly label: string;
  /** Beside another series of the same subject, which is solid. */
  readonly isDashed: boolean;
  readonly points: readonly Point[];
}

export interface Axis {
  readonly label: string;
  readonly scale: 'log' | 'linear';
  /** A value as people read it, with its unit. */
  readonly format: (value: number) => string;
}

interface Common {
  /** Of its file, and its anchor in the page: letters, digits and hyphens. */
  readonly name: string;
  readonly title: string;
  /** What is measured, and which direction is the good one. */
  readonly subtitle: string;
}

/** Something against something else: lines whose ends are named. */
export interface LineFigure extends Common {
  readonly kind: 'lines';
  readonly x: Axis & { readonly ticks: readonly number[] };
  readonly y: Axis;
  readonly series: readonly Series[];
}

/** One value, or a median with its tail, for each subject: best first. */
export interface RankFigure extends Common {
  readonly kind: 'dots' | 'bars';
  readonly value: Axis;
  readonly entries: readonly Entry[];
}

export interface Entry {
  readonly subject: SubjectName;
  readonly label: string;
  readonly value: number;
  /** Larger values that belong to it, ascending: p99 and p99.9. */
  readonly tail: readonly number[];
  readonly row: Row;
}

export type Figure = LineFigure | RankFigure;
