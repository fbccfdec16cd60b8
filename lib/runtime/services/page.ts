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
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(limit: number, bytesMax = PAGE_BYTES_MAX) {
    this.#limit = limit;
    this.#bytesMax = bytesMax;
  }

  /** Adds an item, whose texts these are, if there is room. The first always has. Answers whether it was added. */
  add(item: T, ...texts: readonly (string | undefined)[]): boolean {
    for (const text of texts) if (text !== undefined) this.#bytes += writtenBytes(text);
    const fits =
      this.items.length < this.#limit && (this.items.length === 0 || this.#bytes <= this.#bytesMax);
    if (fits) this.items.push(item);
    return fits;
  }
}

/** What a text takes in XML, at most. */
function writtenBytes(text: string): number {
  return Buffer.byteLength(text) + 4 * (text.match(/[&<>\r]/g)?.length ?? 0);
}

/** Where in a sorted list the first text stands that is not before `text`, or not `text` itself either. */
export function firstNot(sorted: readonly string[], text: string, beyond: boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const one = sorted[middle] as string;
    if (one < text || (beyond && one === text)) low = middle + 1;
    else high = middle;
  }
  return low;
}
