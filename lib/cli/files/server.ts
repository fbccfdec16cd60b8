// The files service of `splitplane serve`: the runtime's, with a line in the log for each request.
import { FilesService, type Files, type FilesInit, type Handlers } from '../../runtime/index.js';
import type { RequestLog } from '../request-log.js';

const at = ({ path }: { readonly path: string }) => ({ path });

export class LoggedFiles extends FilesService {
  declare readonly handlers: Handlers<typeof Files>;

  constructor(init: FilesInit, log: RequestLog) {
    super(init);
    const { stat, list, get, digest, partial, put, makeDirectory, remove } = this.handlers;
    this.handlers = {
      ...this.handlers,
      stat: log.logged('Stat', stat, at),
      list: log.logged('List', list, at),
      get: log.logged('Get', get, ({ path }, { size }) => ({ path, bytes: size })),
      digest: log.logged('Digest', digest, at),
      partial: log.logged('Partial', partial, at),
      put: log.logged('Put', put, ({ path }, { size, resumedFrom }) => ({ path, bytes: size - resumedFrom })),
      makeDirectory: log.logged('MakeDirectory', makeDirectory, at),
      remove: log.logged('Remove', remove, at),
    };
  }
}
