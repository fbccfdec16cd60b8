// What the camera sees: colour bars under a lamp that is turned up and down, and a white square that wanders before them. Computed from
// the number of the frame alone, so that it can be known what should be found. Knows nothing of messages.

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Box extends Size {
  readonly x: number;
  readonly y: number;
}

/** Bytes of a pixel. */
export const CHANNELS = 3;

/** White, yellow, cyan, green, magenta, red, blue, black. */
const BARS = [7, 6, 3, 2, 5, 4, 1, 0].map((bits) => [4, 2, 1].map((bit) => ((bits & bit) === 0 ? 0 : 192)));

/** Where the square is: it takes a way that does not repeat itself soon. */
export function squareOn(sequence: number, { width, height }: Size): Box {
  const side = Math.max(2, Math.floor(Math.min(width, height) / 6));
  const along = (room: number, speed: number): number =>
    Math.round(((1 + Math.sin(sequence * speed)) / 2) * (room - side));
  return { x: along(width, 0.11), y: along(height, 0.07), width: side, height: side };
}

/** Writes a frame into `pixels`, which has CHANNELS bytes for each. */
export function paint(pixels: Uint8Array, size: Size, sequence: number): void {
  const { width, height } = size;
  const lamp = 0.75 + 0.25 * Math.sin(sequence * 0.05);
  const row = new Uint8Array(width * CHANNELS);
  for (let x = 0; x < width; x++) {
    const bar = BARS[Math.floor((x * BARS.length) / width)] ?? [];
    row.set(
      bar.map((value) => value * lamp),
      x * CHANNELS,
    );
  }
  for (let y = 0; y < height; y++) pixels.set(row, y * row.length);
  const square = squareOn(sequence, size);
  for (let y = square.y; y < square.y + square.height; y++) {
    const begin = (y * width + square.x) * CHANNELS;
    pixels.fill(255, begin, begin + square.width * CHANNELS);
  }
}
