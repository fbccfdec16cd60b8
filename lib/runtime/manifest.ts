// Loading instructions: the manifest's schema, and a manifest as the loader takes it. A manifest can be checked without being
// run: nothing it names is opened here but the file itself. The schema for editors is docs/manifest.xsd; both say the same.
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { TIMER_MS_MAX } from '../dataplane/operations.js';
import { parseAddress } from '../network/address.js';
import { SplitplaneError } from '../errors.js';
import type { XmlElement } from '../soap/infoset.js';
import {
  BOOLEAN,
  checkDocument,
  DocumentError,
  listOf,
  oneOf,
  readDocumentFile,
  textForm,
  wholeNumber,
  type Checker,
  type DocumentKind,
  type Problem,
  type TextPlace,
} from './document.js';
import { isContractUri, isName, isServiceUri, NAME_LENGTH_MAX } from './names.js';

export const MANIFEST_NAMESPACE = 'urn:splitplane:manifest:1';

/** Bytes of a manifest: 100,000 services with partners and some state fit. */
export const MANIFEST_BYTES_MAX = 64 << 20;
/** Services of a manifest. */
export const SERVICES_MAX = 100_000;
/** Partners of one service. */
export const PARTNERS_MAX = 1024;
/** What a service may ask for as the bound of its port's queue. */
export const QUEUE_MAX = 1_000_000;

const HOSTS = ['here', 'thread', 'process'] as const;
/** Where a service runs: on the runtime's thread, on one of its own, or in a process of its own. */
export type ServiceHost = (typeof HOSTS)[number];

const POLLS = ['event', 'busy', 'adaptive'] as const;

/** Who decides what is allowed. */
export type SecurityEntry =
  | { readonly off: true }
  | {
      readonly off: false;
      /** Absolute path of the policy. */
      readonly policy: string;
      /** Absolute path of the audit log; without one it is kept in memory only. */
      readonly audit?: string | undefined;
    };

/** The network protocol binding. */
export interface NetworkEntry {
  /** Addresses; none for a runtime that only connects to others. */
  readonly listen: readonly string[];
  readonly allowInsecure: boolean;
  /** Allowed transports; all that there are when left out. */
  readonly transports?: readonly string[] | undefined;
  readonly poll?: (typeof POLLS)[number] | undefined;
  /** Absolute path of the file whose bytes are shown to peers. */
  readonly credentials?: string | undefined;
}

export interface MonitorEntry {
  /** http://HOST:PORT */
  readonly listen: string;
}

/** A service to load. It has either `module` or `builtin`. */
export interface ServiceEntry {
  readonly name: string;
  /** The file: URL of an ES module. */
  readonly module?: string | undefined;
  /** The name of a service that comes with the runtime. */
  readonly builtin?: string | undefined;
  /** The contract that the service must turn out to have. */
  readonly contract?: string | undefined;
  readonly host: ServiceHost;
  /** The bound of its port's queue, in messages. */
  readonly queueMax?: number | undefined;
  /** How long a message may take there, in milliseconds. */
  readonly timeoutMs?: number | undefined;
  /** By the name that the service knows a partner by: a URI, or the name of a service of this manifest. No prototype. */
  readonly partners: Readonly<Record<string, string>>;
  /** The one element inside <state>, in a namespace of the service's. */
  readonly state?: XmlElement | undefined;
  /** Where it stands, for errors that show later; absent where no file says it. */
  readonly at?: TextPlace;
}

/** What a runtime is to load. Frozen. */
export interface Manifest {
  readonly name: string;
  /** The file it came from, as it was named. */
  readonly source: string;
  readonly security: SecurityEntry;
  readonly network?: NetworkEntry | undefined;
  readonly monitor?: MonitorEntry | undefined;
  /** In the order of the manifest. */
  readonly services: readonly ServiceEntry[];
}

/** A manifest that is none; its `problems` are all that is wrong with it. */
export class ManifestError extends DocumentError {
  constructor(source: string, problems: readonly Problem[]) {
    super('MANIFEST_INVALID', source, problems);
  }
}

const MANIFEST: DocumentKind = {
  what: 'manifest',
  namespace: MANIFEST_NAMESPACE,
  root: 'manifest',
  bytesMax: MANIFEST_BYTES_MAX,
  limits: {
    depthMax: 64,
    elementsMax: 4_000_000,
    attributesMax: 64,
    declarationsMax: 128,
    nameLengthMax: 256,
    namespaceLengthMax: 1024,
  },
  error: ManifestError,
};

const NAME = textForm(
  isName,
  `a name: letters, digits, ".", "_", "~" and "-", in parts joined by "/" that are not "." or "..", ` +
    `at most ${NAME_LENGTH_MAX} characters`,
);
const RUNTIME_NAME = textForm(
  (text) => isName(text) && !text.includes('/'),
  `a name: letters, digits, ".", "_", "~" and "-", at most ${NAME_LENGTH_MAX} characters`,
);
const MODULE = textForm(
  (text) => /^\.{0,2}\/[^\n\r]+$/.test(text),
  'the path of a module that begins with ./ or ../ or /',
);
const BUILTIN = textForm((text) => /^[a-z][a-z0-9-]{0,63}$/.test(text), 'the name of a built-in service');
const CONTRACT = textForm(isContractUri, 'an absolute URI');
const SERVICE_URI = textForm(isServiceUri, 'the URI of a service: dos://HOST:PORT/NAME or dos:///NAME');
const PATH = textForm((text) => text !== '', 'the path of a file');
const TRANSPORTS = listOf(textForm((text) => /^[a-z][a-z0-9]{0,15}$/.test(text), 'names of transports'));
const ADDRESSES = listOf(
  textForm(isListenAddress, 'addresses HOST:PORT, tcp://HOST:PORT, rdma://HOST:PORT or unix:/PATH'),
);
const MONITOR_URL = textForm(isMonitorUrl, 'an address http://HOST:PORT');
const HOST = oneOf(HOSTS);
const POLL = oneOf(POLLS);
const QUEUE = wholeNumber(1, QUEUE_MAX);
const TIMEOUT = wholeNumber(1, TIMER_MS_MAX);

/**
 * Reads a manifest from a file. Throws SYSTEM if it cannot be read, ManifestError (MANIFEST_INVALID) for what is wrong with
 * it. Nothing the manifest names is looked for.
 */
export async function readManifest(path: string): Promise<Manifest> {
  return parseManifest(await readDocumentFile(path, MANIFEST), path);
}

/** A manifest from its text. Paths in it are relative to the folder of `where`, the file it is from or would be. */
export function parseManifest(text: string, where: string): Manifest {
  return checkDocument(text, where, MANIFEST, (checker) => {
    const { root } = checker;
    const { security, network, monitor, service } = checker.children(root, {
      required: ['name'],
      children: { security: 1, network: 1, monitor: 1, service: SERVICES_MAX },
    });
    const locate = (path: string): string => resolve(dirname(where), path);
    const [securityElement] = security;
    const [networkElement] = network;
    const [monitorElement] = monitor;
    return Object.freeze({
      name: checker.value(root, 'name', RUNTIME_NAME) ?? '',
      source: where,
      security: readSecurity(checker, securityElement, locate),
      network: networkElement && readNetwork(checker, networkElement, locate),
      monitor: monitorElement && readMonitor(checker, monitorElement),
      services: readServices(checker, service, locate),
    });
  });
}

type Locate = (path: string) => string;

function readSecurity(checker: Checker, element: XmlElement | undefined, locate: Locate): SecurityEntry {
  if (element === undefined) return Object.freeze({ off: false, policy: locate('policy.xml') });
  checker.children(element, { optional: ['off', 'policy', 'audit'] });
  if (checker.value(element, 'off', BOOLEAN) === true) {
    for (const name of ['policy', 'audit']) {
      if (element.attribute(name) === undefined) continue;
      checker.problem(element, `Security is off, so ${name} would do nothing. Leave one of them out.`, name);
    }
    return Object.freeze({ off: true });
  }
  const audit = checker.value(element, 'audit', PATH);
  return Object.freeze({
    off: false,
    policy: locate(checker.value(element, 'policy', PATH) ?? 'policy.xml'),
    audit: audit === undefined ? undefined : locate(audit),
  });
}

function readNetwork(checker: Checker, element: XmlElement, locate: Locate): NetworkEntry {
  checker.children(element, { optional: ['listen', 'allow-insecure', 'transports', 'poll', 'credentials'] });
  const credentials = checker.value(element, 'credentials', PATH);
  return Object.freeze({
    listen: checker.value(element, 'listen', ADDRESSES) ?? Object.freeze([]),
    allowInsecure: checker.value(element, 'allow-insecure', BOOLEAN) ?? false,
    transports: checker.value(element, 'transports', TRANSPORTS),
    poll: checker.value(element, 'poll', POLL),
    credentials: credentials === undefined ? undefined : locate(credentials),
  });
}

function readMonitor(checker: Checker, element: XmlElement): MonitorEntry {
  checker.children(element, { required: ['listen'] });
  return Object.freeze({ listen: checker.value(element, 'listen', MONITOR_URL) ?? '' });
}

function readServices(
  checker: Checker,
  elements: readonly XmlElement[],
  locate: Locate,
): readonly ServiceEntry[] {
  checker.unique(elements, 'name');
  const names = new Set(elements.map((element) => element.attribute('name')));
  return Object.freeze(elements.map((element) => readService(checker, element, names, locate)));
}

function readService(
  checker: Checker,
  element: XmlElement,
  names: ReadonlySet<string | undefined>,
  locate: Locate,
): ServiceEntry {
  const { partner, state } = checker.children(element, {
    required: ['name'],
    optional: ['module', 'builtin', 'contract', 'host', 'queue', 'timeout-ms'],
    children: { partner: PARTNERS_MAX, state: 1 },
  });
  checkEither(checker, element, 'module', 'builtin');
  const module = checker.value(element, 'module', MODULE);
  const [stateElement] = state;
  return Object.freeze({
    name: checker.value(element, 'name', NAME) ?? '',
    module: module === undefined ? undefined : pathToFileURL(locate(module)).href,
    builtin: checker.value(element, 'builtin', BUILTIN),
    contract: checker.value(element, 'contract', CONTRACT),
    host: checker.value(element, 'host', HOST) ?? 'here',
    queueMax: checker.value(element, 'queue', QUEUE),
    timeoutMs: checker.value(element, 'timeout-ms', TIMEOUT),
    partners: readPartners(checker, partner, names),
    state: stateElement && checker.foreign(stateElement),
    at: Object.freeze(checker.place(element)),
  });
}

function readPartners(
  checker: Checker,
  elements: readonly XmlElement[],
  names: ReadonlySet<string | undefined>,
): Readonly<Record<string, string>> {
  checker.unique(elements, 'name');
  // Without a prototype, because services look partners up by names that may be "constructor".
  const partners = Object.create(null) as Record<string, string>;
  for (const element of elements) {
    checker.children(element, { required: ['name'], optional: ['uri', 'service'] });
    checkEither(checker, element, 'uri', 'service');
    const name = checker.value(element, 'name', NAME);
    const service = checker.value(element, 'service', NAME);
    if (service !== undefined && !names.has(service)) {
      const says = `This manifest has no service ${JSON.stringify(service)}. Add it, or write uri="dos://...".`;
      checker.problem(element, says, 'service');
    }
    const target = checker.value(element, 'uri', SERVICE_URI) ?? service;
    if (name !== undefined && target !== undefined) partners[name] = target;
  }
  return Object.freeze(partners);
}

function checkEither(checker: Checker, element: XmlElement, one: string, other: string): void {
  const hasOne = element.attribute(one) !== undefined;
  const hasOther = element.attribute(other) !== undefined;
  if (hasOne !== hasOther) return;
  const has = hasOne ? 'both' : 'neither';
  checker.problem(element, `<${element.localName}> has ${has} ${one} and ${other}. Write one of the two.`);
}

function isListenAddress(text: string): boolean {
  if (!text.startsWith('unix:/') && !/^(?:(?!dos:)[a-z]+:\/\/)?[^/]+$/.test(text)) return false;
  try {
    parseAddress(text);
    return true;
  } catch (error) {
    if (error instanceof SplitplaneError) return false;
    throw error;
  }
}

function isMonitorUrl(text: string): boolean {
  const match = /^http:\/\/(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):(\d{1,5})\/?$/.exec(text);
  return match !== null && Number(match[1]) <= 65_535;
}
