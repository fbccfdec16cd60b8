// A page of a long list: as many items as were asked for, or as fit into a message that may have to leave this runtime. Knows nothing
// of what is listed.

/**
 * Bytes of text on a page. With the elements around it a page stays below what an envelope may have (XML_LIMITS); only an item
 * that is longer by itself does not.
 */
export const PAGE_BYTES_MAX = 96 << 10;

export class Page<T> {
  readonly items: T[] = [];
  readonly #limit: number;
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Adds an item, whose texts these are, if there is room. The first always has. Answers whether it was added. */
  add(item: T, ...texts: readonly (string | undefined)[]): boolean {
    for (const text of texts) if (text !== undefined) this.#bytes += writtenBytes(text);
    const fits =
      this.items.length < this.#limit && (this.items.length === 0 || this.#bytes <= PAGE_BYTES_MAX);
    if (fits) this.items.push(item);
    return fits;
  }
}

/** What a text takes in XML, at most. */
function writtenBytes(text: string): number {
  return Buffer.byteLength(text) + 4 * (text.match(/[&<>\r]/g)?.length ?? 0);
}
