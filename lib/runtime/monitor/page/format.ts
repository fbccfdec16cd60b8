// Numbers as people read them. The page is in English, and so are they, wherever it is read.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** From here on a number that changes every second is shortened. */
const SHORTENED_FROM = 100_000;

/** A text of a peer's or a service's, cut to what a page can hold. */
const TEXT_CHARS_MAX = 2_000;

export function count(value: number): string {
  return whole.format(value);
}

/** A number per second. */
export function rate(value: number): string {
  if (value >= SHORTENED_FROM) return short.format(value);
  return value > 0 && value < 10 ? oneDigit.format(value) : whole.format(value);
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

export function bytes(value: number): string {
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const number = unit > 0 && value < 100 ? oneDigit.format(value) : whole.format(value);
  return `${number} ${UNITS[unit] ?? ''}`;
}

/** A length of time by its two largest units. */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ] as const;
  const first = parts.findIndex(([value]) => value > 0);
  if (first === -1) return '0 s';
  return parts
    .slice(first, first + 2)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ');
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function cut(text: string): string {
  return text.length > TEXT_CHARS_MAX ? `${text.slice(0, TEXT_CHARS_MAX)}…` : text;
}
