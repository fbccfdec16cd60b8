// A peer that speaks the wire protocol by hand, to say what no honest peer would: docs/WIRE_PROTOCOL.md in the least code.
// Every record and frame it sends has a right checksum unless a test wants otherwise, so that what is refused is refused for
// what it says.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach } from 'vitest';
import { crc32c } from '../../lib/index.js';

/** Kinds of records (native/tcp/record.h). */
export const KIND = {
  join: 1,
  joined: 2,
  frame: 3,
  goodbye: 4,
  read: 5,
  data: 6,
  readFailed: 7,
  write: 8,
  writeData: 9,
  writeDone: 10,
  atomic: 11,
  cancel: 13,
} as const;

/** Types of frames (native/protocol/frame.h). */
export const FRAME = {
  hello: 1,
  welcome: 2,
  start: 3,
  reject: 4,
  message: 5,
  ack: 6,
  cancel: 7,
  release: 8,
  batch: 12,
} as const;

const HEAD_BYTES = 32;
const TRAILER_BYTES = 8;
const FRAME_CRC_AT = 4;

export interface RecordFields {
  readonly kind: number;
  readonly flags?: number;
  readonly status?: number;
  readonly operation?: bigint;
  readonly offset?: bigint;
  readonly length?: bigint;
  readonly extension?: Uint8Array;
}

export function record(fields: RecordFields): Buffer {
  const { kind, flags = 0, status = 0, operation = 0n, offset = 0n, length = 0n } = fields;
  const bytes = Buffer.concat([Buffer.alloc(HEAD_BYTES), fields.extension ?? Buffer.alloc(0)]);
  bytes.writeUInt8(kind, 0);
  bytes.writeUInt8(flags, 1);
  bytes.writeUInt16LE(status, 2);
  bytes.writeBigUInt64LE(operation, 8);
  bytes.writeBigUInt64LE(offset, 16);
  bytes.writeBigUInt64LE(length, 24);
  bytes.writeUInt32LE(crc32c(bytes), 4);
  return bytes;
}

/** A payload with its trailer: CRC32C over the payload and the four bytes behind the checksum. */
export function withTrailer(payload: Buffer, status = 0): Buffer {
  const trailer = Buffer.alloc(TRAILER_BYTES);
  trailer.writeUInt16LE(status, 4);
  trailer.writeUInt32LE(crc32c(trailer.subarray(4), crc32c(payload)), 0);
  return Buffer.concat([payload, trailer]);
}

/** A frame's checksum over all of it, with the field itself zero. */
export function seal(frame: Buffer): Buffer {
  frame.writeUInt32LE(0, FRAME_CRC_AT);
  frame.writeUInt32LE(crc32c(frame), FRAME_CRC_AT);
  return frame;
}

export function frameRecord(frame: Buffer): Buffer {
  const head = record({ kind: KIND.frame, flags: 1, length: BigInt(frame.length) });
  return Buffer.concat([head, withTrailer(frame)]);
}

const peers = new Set<WirePeer>();

afterEach(() => {
  for (const peer of peers) peer.end();
});

/** Two sockets to a manager that listens. */
export class WirePeer {
  readonly control: Socket;
  readonly data: Socket;
  /** Settles when the other side has ended the control socket. */
  readonly ended: Promise<void>;
  #received = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #over = false;

  private constructor(control: Socket, data: Socket) {
    this.control = control;
    this.data = data;
    peers.add(this);
    for (const socket of [control, data]) socket.on('error', () => undefined);
    data.resume();
    control.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake?.();
    });
    this.ended = new Promise((resolve) => {
      control.once('close', () => {
        this.#over = true;
        this.#wake?.();
        resolve();
      });
    });
  }

  /** Connects both sockets and joins them. */
  static async join(address: string): Promise<WirePeer> {
    const peer = await WirePeer.connect(address);
    const id = randomBytes(16);
    const secret = randomBytes(16);
    peer.control.write(record({ kind: KIND.join, extension: joinExtension(id, secret, 0, 1) }));
    peer.data.write(record({ kind: KIND.join, extension: joinExtension(id, secret, 1, 1) }));
    await peer.take(HEAD_BYTES);
    return peer;
  }

  /** Connects both sockets and says nothing. */
  static async connect(address: string): Promise<WirePeer> {
    const { hostname, port } = new URL(address.replace(/^tcp:/, 'http:'));
    const sockets = [0, 1].map(() => connect({ host: hostname, port: Number(port), noDelay: true }));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    return new WirePeer(sockets[0] as Socket, sockets[1] as Socket);
  }

  /** Joins, greets and begins a session. */
  static async open(address: string): Promise<WirePeer> {
    const peer = await WirePeer.join(address);
    peer.control.write(frameRecord(hello()));
    const welcome = await peer.takeFrame(FRAME.welcome);
    const start = Buffer.alloc(32);
    start.writeUInt8(FRAME.start, 0);
    welcome.copy(start, 16, 72, 88);
    peer.control.write(frameRecord(seal(start)));
    return peer;
  }

  /** The next frame of this type; others are passed over. */
  async takeFrame(type: number): Promise<Buffer> {
    for (;;) {
      const head = await this.take(HEAD_BYTES);
      if (head[0] !== KIND.frame) continue;
      const payload = await this.take(Number(head.readBigUInt64LE(24)) + TRAILER_BYTES);
      if (payload[0] === type) return payload.subarray(0, payload.length - TRAILER_BYTES);
    }
  }

  async take(count: number): Promise<Buffer> {
    while (this.#received.length < count) {
      if (this.#over) throw new Error('The other side has ended the connection.');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const taken = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count);
    return taken;
  }

  end(): void {
    peers.delete(this);
    this.control.destroy();
    this.data.destroy();
  }
}

export function joinExtension(id: Buffer, secret: Buffer, index: number, channels: number): Buffer {
  const head = Buffer.alloc(16);
  head.write('SPLT', 0, 'latin1');
  head.writeUInt16LE(1, 4);
  head.writeUInt8(index, 6);
  head.writeUInt8(channels, 7);
  return Buffer.concat([head, id, secret]);
}

/** An honest hello. */
export function hello(): Buffer {
  const encoding = Buffer.from('xml');
  const fixed = Buffer.alloc(96);
  fixed.writeUInt8(FRAME.hello, 0);
  fixed.writeUInt16LE(1, 16);
  fixed.writeUInt16LE(1, 18);
  fixed.writeUInt32LE(1 << 20, 24);
  fixed.writeUInt32LE(1024, 28);
  fixed.writeUInt32LE(8 << 20, 32);
  randomBytes(16).copy(fixed, 40);
  fixed.writeUInt8(4, 88);
  fixed.writeUInt8(1, 89);
  return seal(Buffer.concat([fixed, Buffer.from('wire'), Buffer.from([encoding.length]), encoding]));
}

interface PartFields {
  readonly sequence?: bigint;
  readonly message?: bigint;
  readonly total?: number;
  readonly offset?: number;
}

export interface MessageFields extends PartFields {
  readonly envelopeBytes?: number;
  readonly attachments?: number;
}

/** A message frame; what is left out is what an honest peer would say of `content`. */
export function messageFrame(content: Buffer, fields: MessageFields = {}): Buffer {
  const head = partHead(FRAME.message, 56, content, fields);
  head.writeUInt32LE(fields.envelopeBytes ?? content.length, 40);
  head.writeUInt16LE(fields.attachments ?? 0, 48);
  return seal(Buffer.concat([head, content]));
}

/** A batch frame of `messages`; what is left out is what an honest peer would say of them. */
export function batchFrame(
  messages: readonly string[],
  fields: PartFields & { readonly count?: number; readonly lengths?: readonly number[] } = {},
): Buffer {
  const lengths = Uint16Array.from(fields.lengths ?? messages.map(({ length }) => length));
  const content = Buffer.concat([Buffer.from(lengths.buffer), Buffer.from(messages.join(''))]);
  const head = partHead(FRAME.batch, 48, content, fields);
  head.writeUInt32LE(fields.count ?? messages.length, 40);
  return seal(Buffer.concat([head, content]));
}

function partHead(type: number, length: number, content: Buffer, fields: PartFields): Buffer {
  const { sequence = 1n, message = 1n, total = content.length, offset = 0 } = fields;
  const head = Buffer.alloc(length);
  head.writeUInt8(type, 0);
  head.writeBigUInt64LE(sequence, 16);
  head.writeBigUInt64LE(message, 24);
  head.writeUInt32LE(total, 32);
  head.writeUInt32LE(offset, 36);
  return head;
}
