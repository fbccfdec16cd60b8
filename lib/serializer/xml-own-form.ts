// The form in which this project writes nearly every message: a header of To, Action, MessageID, RelatesTo, References, in
// this order, without attributes or white space, and often a body that only points at the buffers. It is written by one
// template and recognised by patterns, both several times faster than going through elements and the parser. Whatever
// differs in one character goes the general way: this file decides speed and never the outcome.
import type { Envelope, EnvelopeProperties } from '../soap/envelope.js';
import { NO_CHILDREN, XmlElement } from '../soap/infoset.js';
import { XOP } from '../soap/namespaces.js';
import { hasDuplicateCid, type Access, type Reference } from '../soap/references.js';
import { EPILOGUE, MIDDLE, PROLOGUE, PROLOGUE_SCOPE } from './xml-prologue.js';
import { hasAt } from './xml-text.js';

const REFERENCES_START = '<sp:References>';
const REFERENCES_END = '</sp:References>';

// Printable ASCII that stands for itself in XML text, no space: nothing here is escaped, folded or trimmed by a parser.
const PLAIN = "([!-%'-;=?-~]+)";
const ADDRESSING = new RegExp(
  `<wsa:To>${PLAIN}</wsa:To><wsa:Action>${PLAIN}</wsa:Action>` +
    `(?:<wsa:MessageID>${PLAIN}</wsa:MessageID>)?(?:<wsa:RelatesTo>${PLAIN}</wsa:RelatesTo>)?`,
  'y',
);
/** What lib/soap/references.ts accepts, and no more. */
const REFERENCE =
  /<sp:Reference cid="([A-Za-z0-9._@-]{1,128})"(?: tag="([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])")? length="(0|[1-9][0-9]{0,15})" access="(read|write|atomic)"\/>/y;

/** What lib/soap/references.ts writes for a pointer at a buffer. */
const INCLUDE = /<xop:Include href="(cid:[A-Za-z0-9._@-]{1,128})"\/>/y;
/** Bodies with more children go the general way, which knows the limits. */
const INCLUDES_MAX = 64;

/** A header that was recognised. */
export interface OwnHeader {
  readonly properties: EnvelopeProperties;
  /** Where the content of s:Body begins. */
  readonly bodyStart: number;
}

/** Reads the header of a document in our own form; undefined for any other document, right or wrong. */
export function readOwnHeader(text: string): OwnHeader | undefined {
  if (!hasAt(text, 0, PROLOGUE)) return undefined;
  ADDRESSING.lastIndex = PROLOGUE.length;
  const found = ADDRESSING.exec(text);
  if (found === null) return undefined;
  const [, to = '', action = '', messageId, relatesTo] = found;
  let at = ADDRESSING.lastIndex;
  const references: Reference[] = [];
  if (text.startsWith(REFERENCES_START, at)) {
    at = readReferences(text, at + REFERENCES_START.length, references);
    if (!text.startsWith(REFERENCES_END, at) || hasDuplicateCid(references)) return undefined;
    at += REFERENCES_END.length;
  }
  if (!text.startsWith(MIDDLE, at)) return undefined;
  return { properties: { to, action, messageId, relatesTo, references }, bodyStart: at + MIDDLE.length };
}

/** Appends the references that stand in a row, and answers where the row ends. */
function readReferences(text: string, start: number, references: Reference[]): number {
  let at = start;
  for (;;) {
    REFERENCE.lastIndex = at;
    const found = REFERENCE.exec(text);
    if (found === null) return at;
    const [, cid = '', tag, length = '', access] = found;
    const lengthBytes = Number(length);
    if (!Number.isSafeInteger(lengthBytes)) return at;
    references.push({ cid, tag, lengthBytes, access: access as Access });
    at = REFERENCE.lastIndex;
  }
}

/**
 * Reads a body that has nothing but pointers at buffers, of a document whose header was recognised; undefined for any other
 * body, right or wrong.
 */
export function readOwnBody(text: string, bodyStart: number): XmlElement[] | undefined {
  const body: XmlElement[] = [];
  let at = bodyStart;
  INCLUDE.lastIndex = at;
  for (let found = INCLUDE.exec(text); found !== null; found = INCLUDE.exec(text)) {
    if (body.length === INCLUDES_MAX) return undefined;
    const href = { namespace: '', localName: 'href', value: found[1] ?? '', prefix: '' };
    body.push(new XmlElement(XOP, 'Include', NO_CHILDREN, [href], 'xop', PROLOGUE_SCOPE));
    at = INCLUDE.lastIndex;
  }
  const ends = text.length === at + EPILOGUE.length && text.endsWith(EPILOGUE);
  return ends ? body : undefined;
}

/** The document up to the content of s:Body. For envelopes that are plain; `escape` makes text of a property. */
export function writeOwnHeader(envelope: Envelope, escape: (text: string) => string): string {
  const { to, action, messageId, relatesTo, references } = envelope;
  let text = `${PROLOGUE}<wsa:To>${escape(to)}</wsa:To><wsa:Action>${escape(action)}</wsa:Action>`;
  if (messageId !== undefined) text += `<wsa:MessageID>${escape(messageId)}</wsa:MessageID>`;
  if (relatesTo !== undefined) text += `<wsa:RelatesTo>${escape(relatesTo)}</wsa:RelatesTo>`;
  if (references.length > 0) {
    text += REFERENCES_START;
    // The envelope has checked them: none of their characters needs escaping.
    for (const { cid, tag, lengthBytes, access } of references) {
      const tagged = tag === undefined ? '' : ` tag="${tag}"`;
      text += `<sp:Reference cid="${cid}"${tagged} length="${lengthBytes}" access="${access}"/>`;
    }
    text += REFERENCES_END;
  }
  return text + MIDDLE;
}
