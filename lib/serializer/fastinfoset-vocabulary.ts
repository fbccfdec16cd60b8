// The vocabulary that both sides have before the first document: the tables that a Fast Infoset document of ours names by URI
// instead of carrying them (ITU-T Rec. X.891, sections 7.2.13 and 8). They are part of the wire format: an entry that was published
// never changes its index, and another set of entries has another URI. docs/FASTINFOSET.md prints them.
import { DSSP, NamespaceScope, ORIGIN, REFERENCES, SOAP, WSA, XML, XOP } from '../soap/namespaces.js';

/** What a document calls these tables. */
export const VOCABULARY_URI = 'urn:splitplane:vocabulary:1';

/** A name with the prefix that it is written with. */
export interface VocabularyName {
  readonly prefix: string;
  readonly namespace: string;
  readonly localName: string;
}

/** The tables in the order of X.891's section 8.4. An entry's index is its place, counted from 1. */
export interface Vocabulary {
  readonly prefixes: readonly string[];
  readonly namespaces: readonly string[];
  readonly localNames: readonly string[];
  readonly attributeValues: readonly string[];
  readonly chunks: readonly string[];
  readonly elements: readonly VocabularyName[];
  readonly attributes: readonly VocabularyName[];
}

const NO_NAMES: readonly VocabularyName[] = [];
const NO_STRINGS: readonly string[] = [];

/** What every document begins with, whoever wrote it. X.891, section 7.2.22. */
export const BUILT_IN_VOCABULARY: Vocabulary = {
  prefixes: ['xml'],
  namespaces: [XML],
  localNames: NO_STRINGS,
  attributeValues: NO_STRINGS,
  chunks: NO_STRINGS,
  elements: NO_NAMES,
  attributes: NO_NAMES,
};

/** The declarations on s:Envelope; those of the text form, so that a header block means the same in both. */
export const DECLARED = { s: SOAP, wsa: WSA, sp: REFERENCES, xop: XOP } as const;

const PREFIXES = { ...DECLARED, dssp: DSSP, o: ORIGIN } as const;
type Prefix = keyof typeof PREFIXES | 'xml' | '';

/** The first 32 take one octet. */
const ELEMENTS = named([
  ['s', 'Envelope Header Body'],
  ['wsa', 'To Action MessageID RelatesTo ReplyTo FaultTo From Address ReferenceParameters Metadata'],
  ['sp', 'References Reference'],
  ['xop', 'Include'],
  ['s', 'Fault Code Value Subcode Reason Text Node Role Detail Upgrade SupportedEnvelope NotUnderstood'],
  ['wsa', 'ProblemHeaderQName ProblemIRI ProblemAction RetryAfter'],
  ['o', 'Origin'],
]);
const ATTRIBUTES = named([
  ['', 'cid tag length access href RelationshipType qname principal node judged'],
  ['xml', 'lang'],
  ['s', 'mustUnderstand role relay encodingStyle'],
  ['wsa', 'IsReferenceParameter'],
]);

const ATTRIBUTE_VALUES = [
  ...['read', 'write', 'atomic', 'true', 'false', '1', '0', 'en', 's:Envelope'],
  ...['next', 'ultimateReceiver', 'none'].map((role) => `${SOAP}/role/${role}`),
  `${WSA}/reply`,
];
const FAULT_CODES = ['Sender', 'Receiver', 'MustUnderstand', 'VersionMismatch', 'DataEncodingUnknown'];
/** DSSP 1.0, whose actions are these with "Request" or "Response". */
const VERBS =
  'Create Lookup Get Query Insert Update Upsert Replace Delete Submit Subscribe Notify Drop'.split(' ');
const SUBCODES = [
  ...['ActionNotSupported', 'MessageNotSupported', 'DuplicateEntry', 'UnknownEntry', 'PermissionDenied'],
  ...[
    'InsufficientResources',
    'OperationCanceled',
    'OperationFailed',
    'QueuingLimitExceeded',
    'ResponseTimeout',
  ],
];
/** The first 16 take one octet. */
const CHUNKS = [
  ...['anonymous', 'none', 'fault', 'soap/fault'].map((name) => `${WSA}/${name}`),
  ...FAULT_CODES.map((code) => `s:${code}`),
  ...VERBS.flatMap((verb) => [`${DSSP}:${verb}Request`, `${DSSP}:${verb}Response`]),
  ...SUBCODES.map((subcode) => `dssp:${subcode}`),
];

/** The final vocabulary that VOCABULARY_URI stands for. */
export const VOCABULARY: Vocabulary = {
  prefixes: [...BUILT_IN_VOCABULARY.prefixes, ...Object.keys(PREFIXES)],
  namespaces: [...BUILT_IN_VOCABULARY.namespaces, ...Object.values(PREFIXES)],
  localNames: [...new Set([...ELEMENTS, ...ATTRIBUTES].map(({ localName }) => localName))],
  attributeValues: ATTRIBUTE_VALUES,
  chunks: CHUNKS,
  elements: ELEMENTS,
  attributes: ATTRIBUTES,
};

/** The index of an entry, which is known to be there. */
export function indexOf<T>(table: readonly T[], entry: T): number {
  return table.indexOf(entry) + 1;
}

/** The declarations in scope inside s:Envelope as it is written here. */
export const DECLARED_SCOPE = NamespaceScope.of(DECLARED);

function named(groups: readonly (readonly [prefix: Prefix, localNames: string])[]): VocabularyName[] {
  return groups.flatMap(([prefix, localNames]) =>
    localNames.split(' ').map((localName) => ({ prefix, namespace: namespaceOf(prefix), localName })),
  );
}

function namespaceOf(prefix: Prefix): string {
  if (prefix === '') return '';
  return prefix === 'xml' ? XML : PREFIXES[prefix];
}
