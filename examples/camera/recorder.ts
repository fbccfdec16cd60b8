// Stores frames as PNG files in a folder, and knows what it has stored. It does not know where frames come from.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, Service, type Handlers, type ReceivedRequest } from '../../lib/runtime/index.js';
import { Recorder } from './contracts.js';
import { png } from './png.js';

/** Frames that one recorder stores. */
const FRAMES_MAX = 10_000;
/** Digits of a frame's number in its file's name, so that names sort as numbers do. */
const DIGITS = 6;

type Frame = ReceivedRequest<typeof Recorder.operations.store>;

export default class extends Service<typeof Recorder> {
  readonly contract = Recorder;
  readonly #stored = new Map<number, { file: string; brightness: number; sha256: string }>();

  readonly handlers: Handlers<typeof Recorder> = {
    store: ({ body }) => this.#store(body),
    list: () => ({ recordings: [...this.#stored].map(([sequence, facts]) => ({ sequence, ...facts })) }),
  };

  override async start(): Promise<void> {
    await mkdir(this.state.folder, { recursive: true });
  }

  async #store({ sequence, width, height, brightness, sha256, pixels: attached }: Frame) {
    if (this.#stored.has(sequence))
      throw new Fault('DuplicateEntry', `There is a frame ${sequence} already. Leave it as it is.`);
    if (this.#stored.size >= FRAMES_MAX)
      throw new Fault('InsufficientResources', `${FRAMES_MAX} frames are stored. Start another recorder.`);
    const file = `frame-${String(sequence).padStart(DIGITS, '0')}.png`;
    // Beside us in one runtime, this is the memory that the analysis looked at.
    const pixels = await attached.resolve();
    let picture: Buffer;
    try {
      picture = png(pixels.bytes, { width, height });
    } finally {
      pixels.release();
    }
    await writeFile(join(this.state.folder, file), picture);
    this.#stored.set(sequence, { file, brightness, sha256 });
    return { file, bytes: picture.length };
  }
}
