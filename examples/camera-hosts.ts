// The two hosts of examples/camera as the demo runs them: their manifests, put where their addresses and folders are those of the host, and
// somebody who asks them what they see. It must not know how runtimes are started, nor what is shown to people.
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { element, Envelope, XmlSerializer } from '../lib/index.js';
import { Node, Runtime } from '../lib/runtime/index.js';
import { Analysis, Camera } from './camera/contracts.js';

/** What is put in the place of what. Each has to be in the manifest. */
export type Changes = Readonly<Record<string, string>>;

/**
 * Writes a manifest of examples/camera into a folder, with its policy beside it. `source` is where the manifests are, `modules` the
 * folder of the compiled services; both end with "/". Answers its path.
 */
export function placeManifest(
  host: 'camera' | 'analysis',
  { source, modules, folder }: { readonly source: string; readonly modules: string; readonly folder: string },
  changes: Changes,
): string {
  let text = readFileSync(`${source}${host}-host.xml`, 'utf8');
  for (const [from, to] of Object.entries({ '../../dist/examples/camera/': modules, ...changes })) {
    if (!text.includes(from)) throw new Error(`${host}-host.xml does not say ${from}`);
    text = text.replaceAll(from, to);
  }
  copyFileSync(`${source}${host}-policy.xml`, join(folder, `${host}-policy.xml`));
  const path = join(folder, `${host}-host.xml`);
  writeFileSync(path, text);
  return path;
}

/** The compiled services, beside this file. */
export const MODULES = fileURLToPath(new URL('./camera/', import.meta.url));

/** One message, as it came, and the buffer beside it. */
export interface ShownMessage {
  readonly envelope: string;
  readonly bytes: number;
  readonly ms: number;
  readonly sha256: string;
  readonly transport: string;
  /** What carried it: devices and their ports. */
  readonly carriers: readonly string[];
}

/** What the analysis saw of the camera. */
export interface Watched {
  /** Frames that were looked at, and how many of them had the SHA-256 that the camera computed. */
  readonly frames: number;
  readonly equal: number;
  /** Frames that the recorder stored. */
  readonly recorded: number;
  /** Of all frames together. */
  readonly bytes: number;
  /** Over what they came. */
  readonly transport: string;
  /** In user space, by the two runtimes, for each byte that moved. */
  readonly copiesPerByte: number;
  /** Of the last frame. */
  readonly brightness: number;
  readonly moved:
    { readonly x: number; readonly y: number; readonly width: number; readonly height: number } | undefined;
}

/** DSSP's action for Query. */
const QUERY = 'http://schemas.microsoft.com/xw/2004/10/dssp.html:QueryRequest';

/** A program that looks at runtimes from outside: a runtime without services, which only connects. */
export class Viewer implements AsyncDisposable {
  readonly #runtime: Runtime;

  private constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  static async open(allowInsecure: boolean): Promise<Viewer> {
    // It has nothing that anybody could ask for.
    const security = { off: true } as const;
    return new Viewer(
      await Runtime.start({ name: 'viewer', security, network: { listen: [], allowInsecure } }),
    );
  }

  /** Asks the camera for a frame with an envelope made by hand, and tells what came. */
  async look(camera: string): Promise<ShownMessage> {
    const body = element(Camera.uri, 'Look');
    const answer = await this.#runtime.client.send(Envelope.of({ to: camera, action: QUERY, body }), []);
    try {
      const { envelope, attached } = answer;
      const [pixels] = attached;
      if (pixels === undefined) throw new Error(envelope.fault?.reason ?? 'the answer refers to no frame');
      const begin = performance.now();
      using bytes = await pixels.resolve();
      const ms = performance.now() - begin;
      const sha256 = createHash('sha256').update(bytes.bytes).digest('hex');
      const told = envelope.body[0]?.child(Camera.uri, 'sha256')?.text();
      if (sha256 !== told) throw new Error(`the frame has SHA-256 ${sha256}, and the camera says ${told}`);
      return {
        envelope: new XmlSerializer().pretty(envelope),
        ...{ bytes: bytes.length, ms, sha256 },
        ...this.#carrier(),
      };
    } finally {
      answer.release();
    }
  }

  /** Settles when the analysis has seen so many frames, with what it saw. `host` is its runtime, `camera` the camera's. */
  async watch(host: string, camera: string, frames: number, transport: string): Promise<Watched> {
    const analysis = `${host}analysis`;
    let seen = 0;
    await new Promise<void>((resolve, reject) => {
      const saw = (): void => {
        if (++seen === frames) resolve();
      };
      this.#runtime.subscribe(Analysis, analysis, { seen: saw }).then(({ ended }) => {
        void ended.then((why) => {
          reject(why ?? new Error('the analysis ended'));
        });
      }, reject);
    });
    const state = await this.#runtime.proxy(Analysis, analysis).$state();
    const here = await this.#moved(host, transport);
    const there = await this.#moved(camera, transport);
    const { frames: looked = 0, equal = 0, recorded = 0, brightness = 0, moved } = state;
    const { receivedBytes: bytes } = here;
    const copiesPerByte = bytes === 0 ? 0 : (here.copiedBytes + there.copiedBytes) / bytes;
    return { frames: looked, equal, recorded, bytes, transport, copiesPerByte, brightness, moved };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#runtime.close();
  }

  /** What the network manager of a runtime moved over a transport. */
  async #moved(prefix: string, transport: string) {
    const { transports } = await this.#runtime.proxy(Node, `${prefix}node`).get();
    const found = transports.find(({ name }) => name === transport);
    if (found === undefined) throw new Error(`${prefix} has no ${transport}`);
    return found.moved;
  }

  #carrier(): Pick<ShownMessage, 'transport' | 'carriers'> {
    const { network } = this.#runtime;
    const [connection] = network?.connections ?? [];
    if (network === undefined || connection === undefined) throw new Error('the camera is not connected');
    const { transport, localAddress } = connection.facts;
    const known = network.transports.find(({ name }) => name === transport)?.facts ?? [];
    const local = localAddress.replace(/^.*\/\/|:\d+$/g, '').replace(/^\[|\]$/g, '');
    return {
      transport,
      carriers: known.filter(({ text }) => text.includes(local)).map(({ name, text }) => `${name}: ${text}`),
    };
  }
}
