// A `splitplane run` with a service that tests know: it stores frames, tells who subscribes, and fails as it is told. The service is
// written as users write one, against the compiled library that the commands are from.
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CLI, Command, makeDirectory, makeTree, type Json } from './support.js';

const RUNTIME = new URL('../runtime/index.js', pathToFileURL(CLI)).href;

export const CONTRACT = 'urn:example:recorder:1';

/** A module with the service. */
export const RECORDER = `
import * as splitplane from ${JSON.stringify(RUNTIME)};
const { body, buffer, contract, Delete, Fault, Insert, integer, lend, list, optional, Query, Service, Submit, text } = splitplane;

const Frame = body('Frame', { sequence: integer(), label: optional(text()), pixels: buffer() });
const Key = body('Key', { sequence: integer() });
const Recorder = contract('${CONTRACT}', {
  operations: {
    store: Insert(Frame, body('Stored', { sequence: integer(), bytes: integer() })),
    frame: Query(Key, body('FrameResponse', { sequence: integer(), label: list(text()), pixels: buffer() })),
    remove: Delete(Key),
    wait: Submit(body('Wait', {})),
    tell: Submit(body('Tell', { times: integer() })),
    clear: Delete(body('Everything', {})),
  },
  notifications: { stored: Frame, removed: Key },
  state: body('State', { frames: integer() }),
});

export default class extends Service {
  contract = Recorder;
  concurrency = 'concurrent';
  state = { frames: 0 };
  #frames = new Map();

  start() {
    this.log('The recorder has started.');
  }

  stop() {
    this.log('The recorder has stopped.');
  }

  handlers = {
    store: async ({ body: { sequence, label, pixels } }) => {
      if (this.#frames.has(sequence)) throw new Fault('DuplicateEntry', \`There is a frame \${sequence} already.\`);
      const buffer = await pixels.resolve();
      this.#frames.set(sequence, { label, buffer });
      this.state = { frames: this.#frames.size };
      this.publish('stored', { sequence, label, pixels: lend(buffer) });
      return { sequence, bytes: buffer.length };
    },
    frame: ({ body: { sequence } }) => {
      const { label, buffer } = this.#known(sequence);
      return { sequence, label: label === undefined ? [] : [label, label], pixels: lend(buffer) };
    },
    remove: ({ body: { sequence } }) => {
      this.#known(sequence);
      this.#frames.delete(sequence);
      this.publish('removed', { sequence });
    },
    clear: () => this.#frames.clear(),
    wait: ({ signal }) => new Promise((_, reject) => {
      this.log('waiting');
      signal.addEventListener('abort', () => {
        this.log('no longer waiting');
        reject(new Fault('OperationCanceled', 'Nobody waits.'));
      });
    }),
    tell: ({ body: { times } }) => {
      for (let sequence = 1; sequence <= times; sequence++) this.publish('removed', { sequence });
    },
  };

  #known(sequence) {
    const frame = this.#frames.get(sequence);
    if (frame === undefined) throw new Fault('UnknownEntry', \`There is no frame \${sequence}.\`);
    return frame;
  }
}
`;

/** A manifest with these elements in it. */
export function manifestOf(...inside: string[]): string {
  return ['<manifest xmlns="urn:splitplane:manifest:1" name="test">', ...inside, '</manifest>', ''].join(
    '\n',
  );
}

/** What a manifest of the tests is made of. */
export const PARTS = {
  unsecured: '<security off="true"/>',
  network: '<network listen="tcp://127.0.0.1:0"/>',
  recorder: '<service name="recorder" module="./recorder.mjs"/>',
  broken: '<service name="broken" module="./missing.mjs"/>',
} as const;

/** A directory with the module, and the manifest `manifest.xml`. */
export function makeManifest(text: string): { directory: string; manifest: string } {
  const directory = makeDirectory();
  makeTree(directory, { 'recorder.mjs': RECORDER });
  const manifest = join(directory, 'manifest.xml');
  writeFileSync(manifest, text);
  return { directory, manifest };
}

/** A `splitplane run`, and what it says that runs. */
export class Running {
  readonly command: Command;
  readonly directory: string;
  /** The line that says what runs. */
  readonly facts: Json;

  private constructor(command: Command, directory: string, facts: Json) {
    this.command = command;
    this.directory = directory;
    this.facts = facts;
  }

  /** Settles when it says what runs: a recorder on loopback, unless another manifest is given. */
  static async start(options: { text?: string; args?: string[] } = {}): Promise<Running> {
    const { text = manifestOf(PARTS.unsecured, PARTS.network, PARTS.recorder), args = [] } = options;
    return await Running.of(makeManifest(text).manifest, args);
  }

  /** Settles when it says what runs, of a manifest that there is. */
  static async of(manifest: string, args: readonly string[] = []): Promise<Running> {
    const command = new Command(['run', manifest, '--json', ...args]);
    const isFacts = (line: string): boolean => line.startsWith('{"running":');
    await command.until(({ lines }) => lines.some(isFacts));
    const facts = JSON.parse(command.lines.find(isFacts) ?? '') as Json;
    return new Running(command, dirname(manifest), facts);
  }

  /** The URI of a service. */
  uri(name: string): string {
    return `${this.facts['prefix'] as string}${name}`;
  }

  /** HOST:PORT. */
  get host(): string {
    return (this.facts['listening'] as string[])[0]?.replace('tcp://', '') ?? '';
  }

  /** The lines of the log so far. */
  get log(): Json[] {
    return this.command.json.filter((line) => 'level' in line);
  }

  /** Settles when a line of the log says this. */
  async logged(text: string): Promise<void> {
    await this.command.until(() => this.log.some((line) => line['text'] === text));
  }
}
