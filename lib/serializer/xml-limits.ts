// Every limit that a peer can reach with an envelope, in one place, whichever the encoding. The defaults let through what this
// project sends and what other SOAP stacks send as headers. What exceeds them is refused within about a millisecond; a document
// that exhausts them without exceeding one takes some milliseconds, in proportion to its bytes.
import { SplitplaneError } from '../errors.js';
import { REFERENCES_MAX } from '../soap/references.js';

export interface XmlLimits {
  /** Bytes of an envelope. */
  readonly envelopeBytesMax: number;
  /** Elements inside one another, s:Envelope included. */
  readonly depthMax: number;
  /** Elements of an envelope. */
  readonly elementsMax: number;
  /** Attributes of one element, namespace declarations included. */
  readonly attributesMax: number;
  /** Namespace declarations in scope at one place: looking up a prefix may pass all of them. */
  readonly declarationsMax: number;
  /** UTF-16 units of a name with its prefix. */
  readonly nameLengthMax: number;
  /** UTF-16 units of a namespace name: each name in it may be compared, and shown, together with it. */
  readonly namespaceLengthMax: number;
  /** References of a message. */
  readonly referencesMax: number;
}

export const XML_LIMITS: XmlLimits = Object.freeze({
  envelopeBytesMax: 256 * 1024,
  depthMax: 64,
  elementsMax: 8192,
  attributesMax: 64,
  declarationsMax: 128,
  nameLengthMax: 256,
  namespaceLengthMax: 1024,
  referencesMax: REFERENCES_MAX,
});

/** An infoset of this side that no peer with the same limits would accept. */
export function tooDeep(depthMax: number): SplitplaneError {
  return new SplitplaneError(
    'LIMIT_EXCEEDED',
    `The message nests deeper than ${depthMax} elements. Flatten it.`,
  );
}
