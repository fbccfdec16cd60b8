// What a files service can be asked: a directory tree as a service, with operations on paths below its root. The bytes of a file
// go beside the messages, by reference, in ranges of the receiver's choice. Data alone.
import {
  body,
  boolean,
  buffer,
  choice,
  integer,
  list,
  optional,
  record,
  text,
  type Field,
} from '../../shape.js';
import { contract, Delete, Get, Query, Upsert, Submit } from '../../contract.js';
import { Fault } from '../../fault.js';

/** Permission bits; nothing else of a mode is anybody's business. */
export const MODE_MAX = 0o777;
/** What a file gets whose sender does not say. */
export const MODE_DEFAULT = 0o644;

/** What lies at a path. */
export const KINDS = ['file', 'directory', 'other'] as const;

/**
 * A path below the root: names joined by "/"; empty and "." are left out, ".." is refused. Names of files may hold what XML
 * cannot, so it is written with percent signs, as in a URI.
 */
export function path(): Field<string, string, 'one'> {
  const written = text();
  return {
    presence: 'one',
    write: (value, place, sink) => written.write(encodePath(value), place, sink),
    read: (element, place, source) => decodePath(written.read(element, place, source)),
  };
}

/** SHA-256, in hex. */
function digest(): Field<string, string, 'one'> {
  const written = text();
  return {
    ...written,
    read: (element, place, source) => {
      const value = written.read(element, place, source);
      if (/^[0-9a-f]{64}$/.test(value)) return value;
      throw new Fault('MessageNotSupported', `${place.name} is no SHA-256 in hex. Send 64 digits.`);
    },
  };
}

const bytes = integer(0);
const mode = integer(0, MODE_MAX);
const Place = { path: path() };

export const Entry = record({
  name: path(),
  kind: choice(...KINDS),
  /** In bytes; of files that were still there when they were looked at. */
  size: optional(bytes),
});

export const Files = contract('urn:splitplane:files:1', {
  operations: {
    /** What lies at a path. `version` changes when the file does. */
    stat: Query(
      body('Stat', Place),
      body('StatResponse', { kind: choice(...KINDS), size: optional(bytes), version: optional(text()) }),
    ),
    /** A page of a directory, by name; the next one is `after` the last name. */
    list: Query(
      body('List', { ...Place, after: optional(path()) }),
      body('ListResponse', { entries: list(Entry), more: boolean() }),
    ),
    /** A file: its bytes can be resolved, in ranges and as often as it takes, until the answer is released. */
    get: Get(
      body('GetFile', Place),
      body('File', { size: bytes, mode, version: text(), content: optional(buffer()) }),
    ),
    /** The SHA-256 of the first `length` bytes of that version of a file. */
    digest: Query(
      body('Digest', { ...Place, length: bytes, version: text() }),
      body('DigestResponse', { sha256: digest() }),
    ),
    /** How much of a file is here from a put that broke off. */
    partial: Query(
      body('Partial', Place),
      body('PartialResponse', { size: bytes, sha256: optional(digest()) }),
    ),
    /**
     * Stores a file, under its name only when all of it is on the disk. `content` is left out for an empty one, and is lent for
     * any number of uses, because it is read in ranges. `from` goes on behind what `partial` told. With `sha256`, or with
     * `transfer`, for which `confirm` brings it while the bytes are moving, nothing is stored that differs.
     */
    put: Upsert(
      body('Put', {
        ...Place,
        mode: optional(mode),
        from: optional(bytes),
        sha256: optional(digest()),
        transfer: optional(text()),
        content: optional(buffer()),
      }),
      body('PutResponse', {
        size: bytes,
        resumedFrom: bytes,
        version: text(),
        sha256: optional(digest()),
      }),
    ),
    /** The SHA-256 of what a put of this `transfer` sends. */
    confirm: Submit(body('Confirm', { transfer: text(), sha256: digest() })),
    /** A directory, and those above it. One that is there already is no failure. */
    makeDirectory: Upsert(body('MakeDirectory', Place)),
    /** Removes a file, or a directory that is empty. */
    remove: Delete(body('Remove', Place)),
  },
  /** What changed through this service; what others do to the directory is not seen. */
  notifications: {
    stored: body('Stored', { ...Place, size: bytes, version: text() }),
    directoryMade: body('DirectoryMade', Place),
    removed: body('Removed', Place),
  },
  state: body('FilesState', {
    /** The directory whose tree is offered, for a manifest: absolute, or below where the runtime was started. */
    root: optional(text()),
    /** Whether writing is refused. */
    readOnly: optional(boolean()),
  }),
});

function encodePath(value: string): string {
  return value.split('/').map(encodeURIComponent).join('/');
}

function decodePath(written: string): string {
  try {
    return written.split('/').map(decodeURIComponent).join('/');
  } catch {
    throw new Fault('MessageNotSupported', 'A path is not percent-encoded UTF-8. Correct the sender.');
  }
}
