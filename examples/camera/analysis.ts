// Watches a camera, wherever that is: how bright each frame is and where something moved, and whether its bytes are those that the camera
// took. Passes frames on to a recorder.
import { createHash } from 'node:crypto';
import {
  lend,
  Service,
  type Handlers,
  type Received,
  type ResolvedBuffer,
  type Subscribed,
} from '../../lib/runtime/index.js';
import { Analysis, Camera, Recorder } from './contracts.js';
import { Eye } from './vision.js';

type Frame = Received<typeof Camera.notifications.frame>;

export default class extends Service<typeof Analysis> {
  readonly contract = Analysis;
  readonly handlers: Handlers<typeof Analysis> = {};
  readonly #eye = new Eye();
  #frames = 0;
  #equal = 0;
  #watching: Subscribed | undefined;

  override async start(): Promise<void> {
    const camera = this.partner('camera', Camera);
    this.#watching = await this.subscribe(Camera, camera.$uri, {
      frame: ({ body }) => this.#see(body),
    });
    void this.#watching.ended.then((why) => {
      if (why !== undefined) this.log(`The camera is gone: ${why.message}`);
    });
  }

  override async stop(): Promise<void> {
    await this.#watching?.[Symbol.asyncDispose]();
  }

  async #see({ pixels: attached, sequence, width, height, sha256 }: Frame): Promise<void> {
    // The bytes move now, from the camera's memory straight into ours.
    const pixels = await attached.resolve();
    this.#lookAt(pixels, { sequence, width, height, sha256 });
    if (this.#frames % this.state.recordEvery !== 0) {
      pixels.release();
      return;
    }
    // The recorder sees the memory that we looked at, and we have it back when it has stored the frame, or could not.
    const returned = (): void => {
      pixels.release();
    };
    await this.partner('recorder', Recorder).store({
      ...{ sequence, width, height, sha256 },
      brightness: this.state.brightness ?? 0,
      pixels: lend(pixels, 'read', returned),
    });
    this.state = { ...this.state, recorded: (this.state.recorded ?? 0) + 1 };
  }

  #lookAt(pixels: ResolvedBuffer, { sequence, width, height, sha256 }: Omit<Frame, 'pixels'>): void {
    this.#frames++;
    if (createHash('sha256').update(pixels.bytes).digest('hex') === sha256) this.#equal++;
    const sight = this.#eye.look(pixels.bytes, { width, height });
    this.state = { ...this.state, frames: this.#frames, equal: this.#equal, ...sight };
    this.publish('seen', { sequence, ...sight });
  }
}
