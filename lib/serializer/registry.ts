// What an encoding is, and the set of encodings a manager has; the engine's handshake chooses one of them for a
// connection. Knows the envelope, and nothing of any one encoding, of frames or of memory.
import { SplitplaneError } from '../errors.js';
import type { Envelope } from '../soap/envelope.js';

/** Encodings in one registry, and so in one handshake. */
export const ENCODINGS_MAX = 16;
const NAME_PATTERN = /^[a-z][a-z0-9.+-]{0,31}$/;

/** Envelopes to bytes and back. One instance serves many connections. */
export interface Serializer {
  /** The name both sides know it by in the handshake: 1 to 32 of a-z, 0-9, ". + -". */
  readonly name: string;
  /** The media type, for carriers that state one. */
  readonly contentType: string;
  /** Fresh bytes that belong to the caller. Throws INVALID_ARGUMENT for an infoset that cannot be written. */
  encode(envelope: Envelope): Uint8Array;
  /**
   * Writes into the caller's memory and answers the number of bytes written. Throws LIMIT_EXCEEDED when they do not fit
   * between `offset` and the end of `target`; what that range then holds is undefined.
   */
  encodeInto(envelope: Envelope, target: Buffer, offset: number): number;
  /**
   * Reads the header alone; the body is decoded by the first read of `envelope.body`. `bytes` are not used after the
   * return, so their memory may be reused. Throws MessageRefusedError, whose `fault` is what to answer the peer.
   */
  decodeHeader(bytes: Uint8Array): Envelope;
}

/** The encodings of a manager, in order of preference. */
export class SerializerRegistry {
  readonly #serializers = new Map<string, Serializer>();

  constructor(serializers: readonly Serializer[]) {
    for (const serializer of serializers) this.add(serializer);
  }

  /** Adds an encoding, preferred least. Throws INVALID_ARGUMENT for a bad name or one that is taken. */
  add(serializer: Serializer): void {
    const { name } = serializer;
    if (!NAME_PATTERN.test(name)) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `The encoding name ${JSON.stringify(name)} is invalid. Use 1 to 32 of a-z, 0-9 and ". + -", a letter first.`,
      );
    }
    if (this.#serializers.has(name)) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `There is an encoding called ${name}. Choose another name.`,
      );
    }
    if (this.#serializers.size === ENCODINGS_MAX) {
      throw new SplitplaneError('LIMIT_EXCEEDED', `A registry holds ${ENCODINGS_MAX} encodings. Add fewer.`);
    }
    this.#serializers.set(name, serializer);
  }

  /** The names to offer in the handshake, most preferred first. */
  get names(): string[] {
    return [...this.#serializers.keys()];
  }

  /** The encoding of this name. Throws ENCODING_UNSUPPORTED when there is none. */
  get(name: string): Serializer {
    const serializer = this.#serializers.get(name);
    if (serializer === undefined) throw unsupported(this.names, [name]);
    return serializer;
  }
}

function unsupported(ours: readonly string[], theirs: readonly string[]): SplitplaneError {
  // What the peer offered may be anything of any length: shown cut and quoted.
  const offered = theirs.slice(0, ENCODINGS_MAX).map((name) => JSON.stringify(name.slice(0, 32)));
  return new SplitplaneError(
    'ENCODING_UNSUPPORTED',
    `No encoding is common to both sides: here ${ours.join(', ') || 'none'}, there ${offered.join(', ') || 'none'}. ` +
      'Configure one that the other side has.',
  );
}
