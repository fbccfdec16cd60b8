/**
 * Draws ranks: one line for each subject, best first, with a bar from nothing or with a dot on a logarithmic axis and its tail. It must
 * not know what is drawn.
 */
import type { Entry, RankFigure } from './figure.js';
import { colorOf } from './palette.js';
import { scaleOf } from './scales.js';
import { hit, tag, text, widthOf, type Drawing } from './svg.js';

const LINE_HEIGHT = 25;
const BAR_HEIGHT = 14;
const MARGIN = { top: 10, bottom: 30, right: 76 };
const LABEL_GAP = 14;
/** Where labels would take more of the width each stands above its line. */
const LABEL_SHARE_MAX = 0.4;
const LABEL_HEIGHT = 15;

export function drawRanks(figure: RankFigure, width: number): Drawing {
  const { entries, value: axis, kind } = figure;
  const labelWidth =
    Math.max(...entries.map(({ label, subject }) => widthOf(label, subject === 'splitplane'))) + LABEL_GAP;
  const isNarrow = labelWidth > width * LABEL_SHARE_MAX;
  const left = isNarrow ? LABEL_GAP : labelWidth;
  const lineHeight = isNarrow ? LINE_HEIGHT + LABEL_HEIGHT : LINE_HEIGHT;
  const right = width - MARGIN.right;
  const bottom = MARGIN.top + entries.length * lineHeight;
  const scale = scaleOf(
    axis,
    entries.flatMap(({ value, tail }) => [value, ...tail]),
    [left, right],
  );
  const ticks = thinned(scale.ticks, right - left);
  const content = [
    ...ticks.map(
      (tick) =>
        tag('line', { class: 'grid', x1: scale.at(tick), x2: scale.at(tick), y1: MARGIN.top, y2: bottom }) +
        text(axis.format(tick), { x: scale.at(tick), y: bottom + 17, 'text-anchor': 'middle' }),
    ),
    ...entries.map((entry, index) =>
      drawEntry(entry, {
        kind,
        hasTails: entries.some(({ tail }) => tail.length > 0),
        left,
        width,
        isNarrow,
        y: MARGIN.top + (index + 1) * lineHeight - LINE_HEIGHT / 2,
        at: scale.at,
        format: axis.format,
      }),
    ),
  ];
  return { width, height: bottom + MARGIN.bottom, content: content.join('') };
}

/** Ticks that have room for their labels. */
function thinned(ticks: readonly number[], space: number): readonly number[] {
  const step = Math.ceil((ticks.length * 58) / space);
  return ticks.filter((_, index) => index % step === 0);
}

interface Place {
  readonly kind: RankFigure['kind'];
  /** Then figures stand in a column: behind a tail they would look like its end. */
  readonly hasTails: boolean;
  readonly isNarrow: boolean;
  readonly left: number;
  readonly width: number;
  readonly y: number;
  readonly at: (value: number) => number;
  readonly format: (value: number) => string;
}

function drawEntry(
  { subject, label, value, tail }: Entry,
  { kind, hasTails, isNarrow, left, width, y, at, format }: Place,
): string {
  const isOurs = subject === 'splitplane';
  const color = colorOf(subject);
  const tip = {
    title: label,
    lines: ['median', 'p99', 'p99.9'].flatMap((name, index) => {
      const figure = index === 0 ? value : tail[index - 1];
      return figure === undefined ? [] : [{ label: name, value: format(figure), color, isOurs }];
    }),
  };
  return tag(
    'g',
    { class: isOurs ? 'ours' : undefined },
    text(
      label,
      isNarrow
        ? { x: left, y: y + 4 - LABEL_HEIGHT, style: `fill:${color}` }
        : { x: left - 10, y: y + 4, 'text-anchor': 'end', style: `fill:${color}` },
    ) +
      (kind === 'bars'
        ? drawBar(left, at(value), y, color)
        : drawDot(at(value), tail.map(at), y, color, isOurs)) +
      text(
        format(value),
        hasTails
          ? { class: 'strong', x: width - 6, y: y + 4, 'text-anchor': 'end' }
          : { class: 'strong', x: at(value) + 9, y: y + 4 },
      ) +
      hit(kind === 'bars' ? { ...tip, lines: tip.lines.map((line) => ({ ...line, label: '' })) } : tip, {
        x: 0,
        y: y - LINE_HEIGHT / 2 - (isNarrow ? LABEL_HEIGHT : 0),
        width,
        height: LINE_HEIGHT + (isNarrow ? LABEL_HEIGHT : 0),
      }),
  );
}

function drawBar(from: number, to: number, y: number, color: string): string {
  return tag('rect', {
    x: from,
    y: y - BAR_HEIGHT / 2,
    width: Math.max(1, to - from),
    height: BAR_HEIGHT,
    rx: 2,
    fill: color,
  });
}

/** The tail is a line from the median with a stroke at each of its values. */
function drawDot(at: number, tail: readonly number[], y: number, color: string, isOurs: boolean): string {
  const end = tail.at(-1);
  const line =
    end === undefined
      ? ''
      : tag('line', { class: 'whisker', stroke: color, x1: at, x2: end, y1: y, y2: y }) +
        tail
          .map((x) => tag('line', { class: 'whisker', stroke: color, x1: x, x2: x, y1: y - 4, y2: y + 4 }))
          .join('');
  return line + tag('circle', { cx: at, cy: y, r: isOurs ? 6 : 4.4, fill: color });
}
