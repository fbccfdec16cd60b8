/**
 * Draws lines: one for each series over a logarithmic number, named at its end, ours on top. It must not know what is drawn.
 */
import { scaleLog } from 'd3-scale';
import { line as pathOf } from 'd3-shape';
import type { LineFigure, Point, Series } from './figure.js';
import { colorOf } from './palette.js';
import { scaleOf } from './scales.js';
import { hit, spread, tag, text, widthOf, type Drawing, type Tip } from './svg.js';

const HEIGHT = 340;
const MARGIN = { top: 14, bottom: 42, left: 66, right: 12 };
const LABEL_HEIGHT = 14.5;
const LABEL_GAP = 12;
/** Where labels would take more of the width they stand below the picture. */
const LABEL_SHARE_MAX = 0.32;
const X_PADDING = 10;
/** What the label of a tick takes. */
const TICK_WIDTH = 46;
const KEY = { lineHeight: 19, mark: 18, gap: 14 };

export function drawLines(figure: LineFigure, width: number): Drawing {
  const series = [...figure.series].sort((a, b) => rank(a) - rank(b));
  const labelWidth =
    Math.max(...series.map(({ label, subject }) => widthOf(label, isOurs(subject)))) + LABEL_GAP;
  const isNarrow = labelWidth > width * LABEL_SHARE_MAX;
  const right = width - (isNarrow ? MARGIN.right : labelWidth);
  const bottom = HEIGHT - MARGIN.bottom;
  const points = series.flatMap((each) => each.points);
  const { ticks } = figure.x;
  const x = scaleLog([Math.min(...ticks), Math.max(...ticks)], [MARGIN.left + X_PADDING, right - X_PADDING]);
  const y = scaleOf(
    figure.y,
    points.map((point) => point.y),
    [bottom, MARGIN.top],
  );
  const key = isNarrow ? drawKey(series, width) : { content: '', height: 0 };
  const content = [
    ...y.ticks.map((tick) => yTick(y.at(tick), figure.y.format(tick), right)),
    ...ticks.map((tick, index) =>
      xTick(x(tick), figure.x.format(tick), index, (right - MARGIN.left) / ticks.length),
    ),
    text(figure.x.label, { x: (MARGIN.left + right) / 2, y: HEIGHT - 6, 'text-anchor': 'middle' }),
    ...series.map((each) => drawSeries(each, x, y.at)),
    isNarrow ? key.content : drawLabels(series, x, y.at, right, bottom),
    ...columns(figure, x, right, bottom),
  ];
  return { width, height: HEIGHT + key.height, content: content.join('') };
}

function isOurs(subject: Series['subject']): boolean {
  return subject === 'splitplane';
}

/** The names below the picture, each behind a piece of its line, in as many lines as they need. Ours comes first. */
function drawKey(
  series: readonly Series[],
  width: number,
): { readonly content: string; readonly height: number } {
  let [x, y] = [8, HEIGHT + KEY.lineHeight];
  const content = [...series].reverse().map(({ subject, label, isDashed }) => {
    const needed = KEY.mark + widthOf(label, isOurs(subject)) + KEY.gap;
    if (x + needed > width) [x, y] = [8, y + KEY.lineHeight];
    const at = x;
    x += needed;
    return tag(
      'g',
      { class: isOurs(subject) ? 'ours' : undefined },
      tag('line', {
        class: isDashed ? 'line dashed' : 'line',
        stroke: colorOf(subject),
        x1: at,
        x2: at + KEY.mark - 5,
        y1: y - 4,
        y2: y - 4,
      }) + text(label, { x: at + KEY.mark, y, style: `fill:${colorOf(subject)}` }),
    );
  });
  return { content: content.join(''), height: y - HEIGHT + 8 };
}

/** Ours is drawn last, so that it lies on top. */
function rank({ subject }: Series): number {
  return isOurs(subject) ? 1 : 0;
}

function yTick(at: number, label: string, right: number): string {
  return (
    tag('line', { class: 'grid', x1: MARGIN.left, x2: right, y1: at, y2: at }) +
    text(label, { x: MARGIN.left - 8, y: at + 4, 'text-anchor': 'end' })
  );
}

/** Where ticks are crowded, labels are small and every other one has to do. */
function xTick(at: number, label: string, index: number, space: number): string {
  const y = HEIGHT - MARGIN.bottom;
  const isCrowded = space < TICK_WIDTH;
  const mark = tag('line', { class: 'grid', x1: at, x2: at, y1: y, y2: y + 4 });
  if (isCrowded && index % 2 === 1) return mark;
  return (
    mark +
    text(label, { x: at, y: y + 17, 'text-anchor': 'middle', 'font-size': isCrowded ? 10.5 : undefined })
  );
}

function drawSeries(
  { subject, isDashed, points }: Series,
  x: (value: number) => number,
  y: (value: number) => number,
): string {
  const ours = isOurs(subject);
  const path = pathOf<Point>(
    (point) => x(point.x),
    (point) => y(point.y),
  );
  const color = colorOf(subject);
  return tag(
    'g',
    { class: ours ? 'ours' : undefined },
    tag('path', { class: isDashed ? 'line dashed' : 'line', stroke: color, d: path([...points]) ?? '' }) +
      points
        .map((point) => tag('circle', { cx: x(point.x), cy: y(point.y), r: ours ? 4.2 : 2.6, fill: color }))
        .join(''),
  );
}

/** At the right end, where a line ends before it led there by a thin one. */
function drawLabels(
  series: readonly Series[],
  x: (value: number) => number,
  y: (value: number) => number,
  right: number,
  bottom: number,
): string {
  const ends = series.map(({ points }) => points.at(-1) ?? { x: 1, y: 1 });
  const wanted = ends.map((end) => y(end.y));
  const places = spread(wanted, LABEL_HEIGHT, MARGIN.top, bottom);
  return series
    .map(({ subject, label }, index) => {
      const place = places[index] ?? 0;
      const end = ends[index] ?? { x: 1, y: 1 };
      const color = colorOf(subject);
      return (
        tag('line', {
          class: 'leader',
          stroke: color,
          x1: x(end.x) + 5,
          y1: wanted[index],
          x2: right + 2,
          y2: place,
        }) +
        text(label, {
          class: isOurs(subject) ? 'ours' : undefined,
          x: right + 6,
          y: place + 4,
          style: `fill:${color}`,
        })
      );
    })
    .join('');
}

/** Areas around each value on the x axis, which tell what lies there. */
function columns(
  { x: axis, y, series }: LineFigure,
  x: (value: number) => number,
  right: number,
  bottom: number,
): readonly string[] {
  const values = [...new Set(series.flatMap(({ points }) => points.map((point) => point.x)))].sort(
    (a, b) => a - b,
  );
  return values.map((value, index) => {
    const [before, after] = [values[index - 1], values[index + 1]];
    const from = before === undefined ? MARGIN.left : (x(before) + x(value)) / 2;
    const to = after === undefined ? right : (x(after) + x(value)) / 2;
    const found = series.flatMap((each) => {
      const point = each.points.find((candidate) => candidate.x === value);
      return point === undefined ? [] : [{ ...each, point }];
    });
    found.sort((a, b) => b.point.y - a.point.y);
    const tip: Tip = {
      title: axis.format(value),
      lines: found.map(({ subject, label, point }) => ({
        label,
        value: y.format(point.y),
        color: colorOf(subject),
        isOurs: isOurs(subject),
      })),
    };
    return hit(tip, {
      x: from,
      y: MARGIN.top,
      width: to - from,
      height: bottom - MARGIN.top,
      'data-x': Math.round(x(value)),
    });
  });
}
