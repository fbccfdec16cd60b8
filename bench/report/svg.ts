/**
 * Elements as text, and what all pictures share: their frame, their style, and labels that do not lie on each other. A library that
 * draws charts would want a document to draw in, or bring tens of megabytes and colours that cannot follow the reader's theme; scales
 * and lines are d3's. It must not know what is drawn.
 */
import { paletteCss } from './palette.js';

type Attributes = Readonly<Record<string, string | number | undefined>>;

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

export function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ESCAPES[character] ?? character);
}

/** `content` is markup; text is escaped by its author. */
export function tag(name: string, attributes: Attributes = {}, content?: string): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${escape(typeof value === 'number' ? round(value) : (value ?? ''))}"`)
    .join('');
  return content === undefined ? `<${name}${written}/>` : `<${name}${written}>${content}</${name}>`;
}

export function text(content: string, attributes: Attributes): string {
  return tag('text', attributes, escape(content));
}

/** A tenth of a pixel is more than anybody sees. */
function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** Of an average letter in pixels; labels are measured before there is anything to measure them with. */
const LETTER_WIDTH = 6.5;
const BOLD_LETTER_WIDTH = 7.2;

/** What a label takes, in pixels. Ours are bold. */
export function widthOf(label: string, isOurs: boolean): number {
  return label.length * (isOurs ? BOLD_LETTER_WIDTH : LETTER_WIDTH);
}

/** A picture without its frame. */
export interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly content: string;
}

/** What the marks look like, in the page and in files. */
export const FIGURE_CSS =
  'svg.figure{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--soft)}' +
  '.figure .grid{stroke:var(--rule)}' +
  '.figure .line{fill:none;stroke-width:1.6;stroke-linejoin:round}' +
  '.figure .dashed{stroke-dasharray:5 4}' +
  '.figure .ours .line{stroke-width:3.4}' +
  '.figure .ours text,.figure text.ours{font-weight:700}' +
  '.figure .leader{stroke-width:.8;opacity:.6}' +
  '.figure .whisker{stroke-width:1.4;opacity:.55}' +
  '.figure .ours .whisker{stroke-width:2.4}' +
  '.figure .strong{fill:var(--ink)}' +
  '.figure .hit{fill:transparent}';

/** For a page that has the styles. */
export function embed({ width, height, content }: Drawing, label: string, className: string): string {
  return tag(
    'svg',
    {
      class: `figure ${className}`,
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: 'img',
      'aria-label': label,
    },
    content,
  );
}

const HEADING_HEIGHT = 58;

/** A file that needs nothing else, headed. */
export function standAlone({ width, height, content }: Drawing, title: string, subtitle: string): string {
  const whole = height + HEADING_HEIGHT;
  return tag(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      class: 'figure',
      viewBox: `0 0 ${width} ${whole}`,
      width,
      height: whole,
      role: 'img',
      'aria-label': title,
    },
    tag('style', {}, `${paletteCss()}${FIGURE_CSS}`) +
      tag('rect', { width, height: whole, rx: 8, fill: 'var(--paper)' }) +
      text(title, { x: 16, y: 26, class: 'strong', 'font-size': 16, 'font-weight': 650 }) +
      text(subtitle, { x: 16, y: 46 }) +
      tag('g', { transform: `translate(0 ${HEADING_HEIGHT})` }, content),
  );
}

/** What a pointer over a mark is told: a heading, and a line for each subject. */
export interface Tip {
  readonly title: string;
  readonly lines: readonly {
    readonly label: string;
    readonly value: string;
    readonly color: string;
    readonly isOurs: boolean;
  }[];
}

/** A transparent area that carries a tip, for the page's script and, in a file, for the browser. */
export function hit(tip: Tip, area: Attributes): string {
  const words = [tip.title, ...tip.lines.map(({ label, value }) => `${label}: ${value}`)].join('\n');
  return tag(
    'rect',
    { class: 'hit', 'data-tip': JSON.stringify(tip), ...area },
    tag('title', {}, escape(words)),
  );
}

/**
 * Where labels go that want to be at `wanted`: as near as they can with `gap` between any two, within `min` and `max` as far as there
 * is room. In the order of `wanted`.
 */
export function spread(wanted: readonly number[], gap: number, min: number, max: number): readonly number[] {
  const order = wanted.map((_, index) => index).sort((a, b) => (wanted[a] ?? 0) - (wanted[b] ?? 0));
  const placed = order.map((index) => wanted[index] ?? 0);
  // Neighbours that are too near become a block around the middle of what its members want, until no block touches another.
  let blocks = placed.map((at) => ({ center: at, count: 1 }));
  for (;;) {
    const touching = blocks.findIndex((block, index) => {
      const next = blocks[index + 1];
      return next !== undefined && next.center - block.center < (gap * (block.count + next.count)) / 2;
    });
    const [first, second] = [blocks[touching], blocks[touching + 1]];
    if (first === undefined || second === undefined) break;
    const count = first.count + second.count;
    const center = (first.center * first.count + second.center * second.count) / count;
    blocks = [...blocks.slice(0, touching), { center, count }, ...blocks.slice(touching + 2)];
  }
  const sorted = blocks.flatMap(({ center, count }) => {
    const half = (gap * (count - 1)) / 2;
    const middle = Math.max(min + half, Math.min(max - half, center));
    return Array.from({ length: count }, (_, index) => middle - half + index * gap);
  });
  // Blocks at an edge may have been pushed into each other.
  for (let i = 1; i < sorted.length; i++) {
    sorted[i] = Math.max(sorted[i] ?? 0, (sorted[i - 1] ?? 0) + gap);
  }
  const result = new Array<number>(wanted.length);
  order.forEach((index, position) => (result[index] = sorted[position] ?? 0));
  return result;
}
