// The example of a camera and those who watch it: two runtimes in processes of their own, from the manifests as they stand there but for
// addresses and sizes. Proves that frames arrive as they were taken and are not copied, that what is seen is what is there, that the
// recorder's pictures are the camera's, and that nobody may do more than the policies say.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { Analysis, Camera, Recorder } from '../../examples/camera/contracts.js';
import { CHANNELS, paint, squareOn } from '../../examples/camera/pattern.js';
import { Eye } from '../../examples/camera/vision.js';
import { placeManifest, Viewer, type Changes } from '../../examples/camera-hosts.js';
import { startDialing, subcode } from '../support/runtimes.js';
import { CLI, Command, makeDirectory } from './support.js';
import { judge } from '../support/xmllint.js';

const SOURCE = fileURLToPath(new URL('../../examples/camera/', import.meta.url));
/** Compiled beside the commands, whose runtime has to be theirs. */
const MODULES = `${join(dirname(CLI), '../../examples/camera')}/`;
const SIZE = { width: 160, height: 120 };

/** What a runtime says that it is, when its services run. */
async function runHost(host: 'camera' | 'analysis', folder: string, changes: Changes): Promise<string> {
  const manifest = placeManifest(host, { source: SOURCE, modules: MODULES, folder }, changes);
  const command = new Command(['run', manifest, '--json'], { cwd: folder });
  await command.until(({ lines }) => lines.length > 0);
  const { prefix, services } = command.json[0] as { prefix: string; services: { state: string }[] };
  expect(services.map(({ state }) => state).filter((state) => state !== 'running')).toEqual([]);
  return prefix;
}

/** The pixels of a picture that png.ts made, read by what every reader of such files does. */
function pixelsOf(picture: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 8; at < picture.length;) {
    const length = picture.readUInt32BE(at);
    if (picture.toString('latin1', at + 4, at + 8) === 'IDAT')
      parts.push(picture.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const lines = inflateSync(Buffer.concat(parts));
  const line = SIZE.width * CHANNELS;
  return Buffer.concat(
    Array.from({ length: SIZE.height }, (_, y) => lines.subarray(y * (line + 1) + 1, (y + 1) * (line + 1))),
  );
}

test('a camera is watched from another host', async () => {
  const folder = makeDirectory();
  const cameraHost = await runHost('camera', folder, {
    'tcp://127.0.0.1:7350': 'tcp://127.0.0.1:0',
    '<width>640': `<width>${SIZE.width}`,
    '<height>480': `<height>${SIZE.height}`,
    '<framesPerSecond>15': '<framesPerSecond>40',
  });
  const host = await runHost('analysis', folder, {
    'tcp://127.0.0.1:7351': 'tcp://127.0.0.1:0',
    'dos://127.0.0.1:7350/': cameraHost,
    '<recordEvery>15': '<recordEvery>5',
  });
  await using viewer = await Viewer.open(false);
  const message = await viewer.look(`${cameraHost}camera`);
  expect(message).toMatchObject({ bytes: SIZE.width * SIZE.height * CHANNELS, transport: 'tcp' });
  expect(message.envelope).toContain('href="cid:pixels"');

  const watched = await viewer.watch(host, cameraHost, 20, 'tcp');
  expect(watched.frames).toBeGreaterThanOrEqual(20);
  expect(watched).toMatchObject({ equal: watched.frames, copiesPerByte: 0 });
  expect(watched.bytes).toBeGreaterThanOrEqual(watched.frames * message.bytes);

  const program = await startDialing();
  const { recordings } = await program.proxy(Recorder, `${host}recorder`).list();
  expect(recordings.length).toBeGreaterThanOrEqual(3);
  for (const { file, sha256 } of recordings) {
    const pixels = pixelsOf(readFileSync(join(folder, 'camera-frames', file)));
    expect(createHash('sha256').update(pixels).digest('hex')).toBe(sha256);
  }
  const refused = await Promise.all(
    [
      program.proxy(Camera, `${cameraHost}camera`).$drop(),
      program.proxy(Analysis, `${host}analysis`).$drop(),
      program.proxy(Recorder, `${host}nothing`).list(),
    ].map(subcode),
  );
  expect(refused).toEqual(['PermissionDenied', 'PermissionDenied', 'PermissionDenied']);
});

test('what moved is where the square was and where it is', () => {
  const eye = new Eye();
  const pixels = new Uint8Array(SIZE.width * SIZE.height * CHANNELS);
  for (let sequence = 1; sequence < 100; sequence++) {
    paint(pixels, SIZE, sequence);
    const { moved } = eye.look(pixels, SIZE);
    const [from, to] = [squareOn(sequence - 1, SIZE), squareOn(sequence, SIZE)];
    if (sequence === 1 || (from.x === to.x && from.y === to.y)) {
      expect(moved).toBeUndefined();
      continue;
    }
    const [x, y] = [Math.min(from.x, to.x), Math.min(from.y, to.y)];
    const size = [Math.max(from.x, to.x) + to.width - x, Math.max(from.y, to.y) + to.height - y];
    expect(moved).toEqual({ x, y, width: size[0], height: size[1] });
  }
});

test('manifests and policies are what their schemas say', () => {
  const texts = (kind: string): string[] =>
    ['camera', 'analysis'].map((host) => readFileSync(`${SOURCE}${host}-${kind}.xml`, 'utf8'));
  expect(judge('manifest.xsd', texts('host'))).toEqual([true, true]);
  expect(judge('policy.xsd', texts('policy'))).toEqual([true, true]);
});
