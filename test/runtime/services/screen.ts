// A service that is shown frames of two buffers and keeps what it was shown, for tests to look at what has arrived.
import type { RegisteredBuffer, XmlElement } from '../../../lib/index.js';
import {
  body,
  buffer,
  contract,
  integer,
  Service,
  Submit,
  xml,
  type Attached,
  type Call,
} from '../../../lib/runtime/index.js';

export const SCREEN = 'urn:splitplane:test:screen';
/** Bytes that do not go inside a control frame. */
export const LARGE = 256 << 10;

export const Frame = body('Frame', { sequence: integer(), left: buffer(), right: buffer(), note: xml() });
const Seen = body('Seen', { sequence: integer() });
export const Camera = contract(SCREEN, { operations: { show: Submit(Frame, Seen) } });

/** Keeps what it is shown. */
export class Screen extends Service<typeof Camera> {
  readonly contract = Camera;
  readonly calls: Call<{ sequence: number; left: Attached; right: Attached; note: XmlElement }>[] = [];
  readonly resolved: RegisteredBuffer[] = [];
  readonly handlers = {
    show: async (call: (typeof this.calls)[number]) => {
      this.calls.push(call);
      for (const attached of [call.body.left, call.body.right]) {
        const bytes = await attached.resolve();
        this.resolved.push(bytes.buffer);
      }
      return { sequence: call.body.sequence };
    },
  };

  releaseAll(): void {
    for (const each of this.resolved.splice(0)) each.release();
  }
}
