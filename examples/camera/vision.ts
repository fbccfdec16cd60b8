// What the analysis does with pixels: how bright they are, and where they changed. Knows nothing of messages.
import { CHANNELS, type Box, type Size } from './pattern.js';

/** A change of brightness below this is the lamp. */
const MOVED_MIN = 32;

export interface Sight {
  /** The mean of all pixels, from 0 to 255. */
  readonly brightness: number;
  /** The smallest rectangle around all that changed since the frame before. */
  readonly moved: Box | undefined;
}

export class Eye {
  #before: Uint8Array | undefined;
  #size: Size | undefined;

  /** Looks at a frame. The bytes are not kept. */
  look(pixels: Uint8Array, size: Size): Sight {
    const { width, height } = size;
    const known = this.#size?.width === width && this.#size.height === height;
    const before = known ? this.#before : undefined;
    const now = new Uint8Array(width * height);
    let sum = 0;
    let [left, right, top, bottom] = [width, -1, height, -1];
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const value = lightness(pixels, at * CHANNELS);
        now[at] = value;
        sum += value;
        if (before === undefined || Math.abs(value - (before[at] ?? 0)) < MOVED_MIN) continue;
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = y;
      }
    }
    this.#before = now;
    this.#size = size;
    const moved =
      right < 0 ? undefined : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
    return { brightness: sum / now.length, moved };
  }
}

/** ITU-R BT.601's weights, in 256ths. */
function lightness(pixels: Uint8Array, at: number): number {
  return (77 * (pixels[at] ?? 0) + 150 * (pixels[at + 1] ?? 0) + 29 * (pixels[at + 2] ?? 0)) >> 8;
}
