// The initial state of a service on its way to the thread or process where it lives: an infoset as bytes, in the encoding that
// messages have, with the limits that manifests have.
import { XmlSerializer } from '../../serializer/xml.js';
import { Envelope } from '../../soap/envelope.js';
import type { XmlElement } from '../../soap/infoset.js';
import { MANIFEST_BYTES_MAX } from '../manifest.js';

const ACTION = 'urn:splitplane:host:1:State';
/** Text that was escaped otherwise in the manifest may be this much longer. */
const GROWTH_MAX = 6;

const serializer = new XmlSerializer({
  envelopeBytesMax: GROWTH_MAX * MANIFEST_BYTES_MAX,
  elementsMax: Infinity,
  depthMax: 1024,
});

export function encodeState(state: XmlElement | undefined): Uint8Array | undefined {
  return state && serializer.encode(Envelope.of({ action: ACTION, body: state }));
}

export function decodeState(bytes: Uint8Array | undefined): XmlElement | undefined {
  return bytes && serializer.decodeHeader(bytes).body[0];
}
