// The body of a request as people type it: XML text, from the command line, a file or standard input, with files for its
// buffers. Turns it into the element to send. Knows nothing of the service but the namespace of its contract.
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { readXmlDocument, XmlDocument } from '../../serializer/xml-document.js';
import { XML_LIMITS } from '../../serializer/xml-limits.js';
import { XmlElement, type XmlNode } from '../../soap/infoset.js';
import { XOP } from '../../soap/namespaces.js';
import { include, includedCid } from '../../soap/references.js';
import { withPath } from '../../runtime/failure.js';
import { UsageError } from '../failure.js';

/**
 * The element that `body` is: XML text, @FILE or - for standard input. Throws UsageError where it is not one, with line and
 * column.
 */
export async function readBody(body: string): Promise<XmlElement> {
  const file = body.startsWith('@') ? body.slice(1) : undefined;
  const from = file ?? (body === '-' ? 'standard input' : 'BODY');
  const text =
    file !== undefined
      ? await withPath(file, () => readFile(file, 'utf8'))
      : body === '-'
        ? await textOf(process.stdin)
        : body;
  const document = readXmlDocument(text, XML_LIMITS);
  if (document instanceof XmlDocument) return document.root;
  const { line, column, predicate } = document;
  throw new UsageError(`${from}:${line}:${column}: The body ${predicate}`);
}

/** The same element with its names in `namespace`, wherever they were in none. */
export function inNamespace(element: XmlElement, namespace: string): XmlElement {
  return copied(element, element.namespace === '' ? namespace : element.namespace, (child) =>
    inNamespace(child, namespace),
  );
}

/** The files that go with a request, and what its body calls them. */
export class FilesOfBody {
  /** Content ids, in the order of the files. */
  readonly cids: readonly string[];
  readonly #files: readonly string[];
  readonly #byName = new Map<string, string | undefined>();
  readonly #used = new Set<string>();

  constructor(files: readonly string[]) {
    this.#files = files;
    this.cids = files.map((_, index) => `buffer-${index}`);
    files.forEach((file, index) => {
      const name = basename(file);
      // A name that two files have stands for neither.
      this.#byName.set(name, this.#byName.has(name) ? undefined : this.cids[index]);
    });
    for (const cid of this.cids) this.#byName.set(cid, cid);
  }

  /**
   * The body with a reference to a file wherever it names one: in xop:Include, or as the text cid:NAME of an element. Throws
   * UsageError for a file that it does not name, and an xop:Include that names none.
   */
  placedIn(body: XmlElement): XmlElement {
    const placed = this.#placed(body);
    const missing = this.cids.findIndex((cid) => !this.#used.has(cid));
    if (missing < 0) return placed;
    throw new UsageError(
      `The body does not refer to ${this.#files[missing]}. Write cid:${this.cids[missing]} into the element that it is for.`,
    );
  }

  #placed(element: XmlElement): XmlElement {
    if (element.is(XOP, 'Include')) {
      const name = includedCid(element);
      const cid = this.#cidOf(name ?? '');
      if (cid !== undefined) return include(cid);
      const names = [...this.#byName.keys()].join(', ');
      throw new UsageError(
        `The body refers to a buffer ${JSON.stringify(name ?? '')}. ${names === '' ? 'Give one with --buffer.' : `There are ${names}.`}`,
      );
    }
    const [only, ...more] = element.children;
    if (typeof only === 'string' && more.length === 0) {
      const cid = this.#cidOf(/^\s*cid:(.*?)\s*$/s.exec(only)?.[1] ?? '');
      if (cid !== undefined) return copied(element, element.namespace, () => include(cid), [include(cid)]);
    }
    return copied(element, element.namespace, (child) => this.#placed(child));
  }

  #cidOf(name: string): string | undefined {
    const cid = this.#byName.get(name);
    if (cid !== undefined) this.#used.add(cid);
    return cid;
  }
}

function copied(
  { localName, children, attributes, prefix, scope }: XmlElement,
  namespace: string,
  copy: (child: XmlElement) => XmlElement,
  instead?: readonly XmlNode[],
): XmlElement {
  const inside = instead ?? children.map((child) => (typeof child === 'string' ? child : copy(child)));
  return new XmlElement(namespace, localName, inside, attributes, prefix, scope);
}
