// A camera: paints frames into registered memory at a steady pace, and tells its subscribers of each. It knows nothing of who they are.
import { createHash } from 'node:crypto';
import { lend, Service, type Handlers } from '../../lib/runtime/index.js';
import { Camera } from './contracts.js';
import { CHANNELS, paint } from './pattern.js';

/** Frames that subscribers have not given back. While there are so many the camera skips frames rather than fill memory. */
const FRAMES_OUT_MAX = 8;

export default class extends Service<typeof Camera> {
  readonly contract = Camera;
  #sequence = 0;
  #out = 0;
  #clock: NodeJS.Timeout | undefined;

  readonly handlers: Handlers<typeof Camera> = {
    // The buffer is given: from here on it belongs to whoever asked.
    look: () => this.#take(),
  };

  override start(): void {
    this.#clock = setInterval(() => {
      this.#tell();
    }, 1000 / this.state.framesPerSecond);
  }

  override stop(): void {
    clearInterval(this.#clock);
  }

  #tell(): void {
    if (this.#out >= FRAMES_OUT_MAX) return;
    const { pixels, ...frame } = this.#take();
    this.#out++;
    // It goes to many, so it is lent: it comes back when the last of them is done with it, and at once where there is none.
    const returned = (): void => {
      this.#out--;
      pixels.release();
    };
    this.publish('frame', { ...frame, pixels: lend(pixels, 'read', returned) });
  }

  #take() {
    const { width, height } = this.state;
    const pixels = this.allocate(width * height * CHANNELS);
    const sequence = ++this.#sequence;
    paint(pixels.bytes, this.state, sequence);
    const sha256 = createHash('sha256').update(pixels.bytes).digest('hex');
    return { sequence, width, height, sha256, pixels };
  }
}
