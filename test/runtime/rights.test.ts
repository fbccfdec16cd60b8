// Rights as a running runtime applies them, to messages and to the buffers that answer them: rules by path and rules by contract mean the
// same, for a service beside the one that is asked and for another runtime.
import { describe, expect, test } from 'vitest';
import {
  body,
  buffer,
  contract,
  Get,
  Query,
  Service,
  type Handlers,
  type Proxy,
} from '../../lib/runtime/index.js';
import { parsePolicy } from '../../lib/runtime/policy.js';
import { startDialing, startListening, subcode } from '../support/runtimes.js';

const Frame = body('Frame', { pixels: buffer() });
const Camera = contract('urn:splitplane:test:camera', {
  operations: { peek: Query(body('Peek', {}), Frame), fetch: Get(body('Fetch', {}), Frame) },
});

class CameraService extends Service<typeof Camera> {
  readonly contract = Camera;
  readonly handlers: Handlers<typeof Camera> = {
    peek: () => ({ pixels: this.allocate(10_000) }),
    fetch: () => ({ pixels: this.allocate(10_000) }),
  };
}

const Asker = contract('urn:splitplane:test:asker', {});

class AskerService extends Service<typeof Asker> {
  readonly contract = Asker;
  readonly handlers = {};
  ask(uri: string): Proxy<typeof Camera> {
    return this.proxy(Camera, uri);
  }
}

/** The camera as a service beside it sees it, and as another runtime does; both are in the role `askers`. */
async function proxies(rules: string): Promise<Proxy<typeof Camera>[]> {
  const policy = parsePolicy(
    `<policy xmlns="urn:splitplane:policy:1">
       <role name="services"><member principal="service:*"/></role><allow roles="services" register="*"/>
       <role name="askers"><member principal="service:asker"/><member principal="local"/></role>${rules}
     </policy>`,
    'policy.xml',
  );
  const home = await startListening({ security: { off: false, policy } });
  const uri = await home.add(new CameraService(), { name: 'camera' });
  const asker = new AskerService();
  await home.add(asker, { name: 'asker' });
  return [asker.ask(uri), (await startDialing()).proxy(Camera, uri)];
}

const ALL = '<allow roles="askers" verbs="*" path="/*"/>';

describe.each([
  ['path', 'path="/camera"'],
  ['contract', `contract="${Camera.uri}"`],
])('rules by %s', (_name, which) => {
  test('who may not Get a service does not get its buffers by another verb', async () => {
    for (const camera of await proxies(`${ALL}<deny roles="askers" verbs="Get" ${which}/>`)) {
      expect(await subcode(camera.fetch())).toBe('PermissionDenied');
      expect(await subcode(camera.peek())).toBe('PermissionDenied');
    }
  });

  test('who may Get it gets its buffers', async () => {
    for (const camera of await proxies(`<allow roles="askers" verbs="Get" ${which}/>`)) {
      using answer = await camera.fetch();
      using pixels = await answer.pixels.resolve();
      expect(pixels.length).toBe(10_000);
      expect(await subcode(camera.peek())).toBe('PermissionDenied');
    }
  });
});
