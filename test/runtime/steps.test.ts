// The method of the decentralized operating system, by the numbers of its flow chart: one test for each step, which looks at what
// really passes between the parts and not at what they say of it. What happens on the network, from 470 on,
// is in steps-network.test.ts.
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { connect, element, Envelope, XmlElement, XmlSerializer } from '../../lib/index.js';
import { compose, requestOf } from '../../lib/runtime/compose.js';
import { isName } from '../../lib/runtime/names.js';
import {
  body,
  contract,
  Create,
  Delete,
  Get,
  Insert,
  lend,
  ManifestError,
  Query,
  Replace,
  Service,
  Submit,
  text,
  Update,
  Upsert,
  type Call,
} from '../../lib/runtime/index.js';
import { Port } from '../../lib/runtime/port.js';
import { VERBS, verbOf } from '../../lib/runtime/verbs.js';
import { DSSP, REFERENCES, SOAP, WSA, XOP } from '../../lib/soap/namespaces.js';
import { failure } from '../support/events.js';
import {
  Catcher,
  elementsOf,
  filledBuffer,
  guestsOf,
  logOf,
  servicePath,
  startDialing,
  startKernel,
  startListening,
  startRuntime,
  subcode,
} from '../support/runtimes.js';
import { readXml } from '../support/xml.js';
import { Counter } from './services/counter.js';
import { Camera, Frame, LARGE, Screen, SCREEN } from './services/screen.js';

const TEST = 'urn:splitplane:test:steps';
const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** A manifest on disk with this inside, and its policy. */
function manifestFile(inside: string, security = '<security off="true"/>', policy?: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'steps-'));
  folders.push(folder);
  const file = join(folder, 'manifest.xml');
  if (policy !== undefined) writeFileSync(join(folder, 'policy.xml'), policy);
  const open = `<manifest xmlns="urn:splitplane:manifest:1" name="from-xml">${security}`;
  writeFileSync(file, `<?xml version="1.0"?>\n${open}\n${inside}\n</manifest>\n`);
  return file;
}

const counterEntry = (name: string, inside = ''): string =>
  `<service name="${name}" module="${servicePath('counter.ts')}">${inside}</service>`;

describe('the system is loaded', () => {
  test('402 the system initialises', async () => {
    const runtime = await startRuntime({ name: 'fresh' });
    expect(runtime.snapshot()).toMatchObject({
      name: 'fresh',
      connections: [],
      messages: { local: 0, out: 0, in: 0, faults: 0 },
    });
    expect(guestsOf(runtime)).toEqual([]);
  });

  test('408 a service loader reads loading instructions written in XML', async () => {
    const state = `<state><c:CounterState xmlns:c="${Counter.uri}"><c:count>40</c:count></c:CounterState></state>`;
    const partner = '<partner name="other" service="b"/>';
    const file = manifestFile(counterEntry('a', partner) + counterEntry('b', state));
    const runtime = await startRuntime(file);
    expect(runtime.name).toBe('from-xml');
    const a = runtime.proxy(Counter, `${runtime.prefix}a`);
    expect(await a.addToPartner({ count: 2 })).toEqual({ count: 42 });
    // What is no such instruction is refused, with its place, before anything runs.
    const wrong = await failure(startRuntime(manifestFile('<service nam="a"/>')));
    expect(wrong).toBeInstanceOf(ManifestError);
    expect(wrong.message).toMatch(/manifest\.xml:3:\d+: /);
  });

  test('410 the loader loads the security manager', async () => {
    // Before everything else: without a policy nothing that follows is allowed, not even what the manifest itself names.
    const runtime = await startRuntime(manifestFile(counterEntry('a'), ''));
    const failed = runtime.snapshot().services.find(({ name }) => name === 'a');
    expect(failed).toMatchObject({ state: 'failed' });
    expect(await subcode(runtime.proxy(Counter, 'dos:///directory').add({ count: 1 }))).toBe(
      'PermissionDenied',
    );
    // And a policy that is none keeps the runtime from starting at all.
    const broken = manifestFile(counterEntry('a'), '', '<policy');
    expect((await failure(startRuntime(broken))).code).toBe('POLICY_INVALID');
  });

  test('412 the loader loads the URI manager', async () => {
    // Before a service, and before a network: a name can be registered and found in a kernel that has neither.
    const { uris, schedule } = await startKernel();
    const target = new Port({} as Catcher, schedule);
    const { uri } = uris.register({ principal: 'service:x', name: 'x', target });
    expect(uris.find(uri)).toMatchObject({ name: 'x', target });
  });

  test('414 the loader loads the message dispatcher', async () => {
    // It answers although there is no service yet.
    const runtime = await startRuntime();
    expect(await subcode(runtime.proxy(Counter, 'dos:///nobody').add({ count: 1 }))).toBe('UnknownEntry');
    expect(runtime.snapshot().messages.faults).toBe(1);
  });

  test('416 network drivers are initialised for network controllers', async () => {
    const runtime = await startListening();
    const tcp = runtime.network?.transports.find(({ name }) => name === 'tcp');
    expect(tcp).toMatchObject({ available: true });
    // The driver has the address: a plain socket reaches it.
    const socket = connectSocket(addressOf(runtime.prefix));
    await once(socket, 'connect');
    socket.destroy();
  });

  test('418 the loader loads the network manager', async () => {
    const runtime = await startListening();
    expect(runtime.snapshot().nodeId).toBe(runtime.network?.nodeId);
    expect(runtime.network?.nodeId).toMatch(/^[0-9a-f]{32}$/);
  });

  test('420-422 where there is a network protocol binding, the network manager exchanges SOAP messages', async () => {
    const runtime = await startListening();
    await runtime.add(new Echo(), { name: 'echo' });
    // No runtime at the other end: whoever speaks SOAP can ask.
    const { host, port } = addressOf(runtime.prefix);
    const peer = await connect(`tcp://${host}:${port}`);
    const asked = Envelope.of({
      to: `${runtime.prefix}echo`,
      action: `${DSSP}:SubmitRequest`,
      body: element(TEST, 'Say', element(TEST, 'words', 'hello')),
    });
    using answer = await peer.request(asked);
    expect(answer.envelope.relatesTo).toBe(asked.messageId);
    expect(answer.envelope.action).toBe(`${DSSP}:SubmitResponse`);
    expect(answer.envelope.body[0]?.is(TEST, 'Said')).toBe(true);
    expect(answer.envelope.body[0]?.child(TEST, 'words')?.text()).toBe('hello');
    await peer.close();
  });

  test('424 the local services named in the instructions are loaded', async () => {
    const broken = `<service name="broken" module="${servicePath('nothing-here.ts')}"/>`;
    const runtime = await startRuntime(manifestFile(counterEntry('a') + broken + counterEntry('c')));
    const services = guestsOf(runtime);
    expect(services.map(({ name, state }) => [name, state])).toEqual([
      ['a', 'running'],
      ['c', 'running'],
      ['broken', 'failed'],
    ]);
    // The one that cannot be loaded is reported, and takes nobody with it.
    expect(services[2]?.problem).toMatch(/nothing-here/);
    expect(logOf(runtime).filter(({ level }) => level === 'error')).toMatchObject([{ source: 'broken' }]);
    expect(await runtime.proxy(Counter, services[1]?.uri ?? '').add({ count: 3 })).toEqual({ count: 3 });
  });

  test('424 all of them are registered before the first one starts', async () => {
    // It asks a service that stands behind it in the instructions, in start().
    const early = `<service name="early" module="${servicePath('asks-early.ts')}">`;
    const lost = `<service name="lost" module="${servicePath('asks-early.ts')}">`;
    const runtime = await startRuntime(
      manifestFile(
        `${early}<partner name="other" service="late"/></service>` +
          `${lost}<partner name="other" uri="dos:///nobody"/></service>${counterEntry('late')}`,
      ),
    );
    expect(guestsOf(runtime).map(({ name, state }) => [name, state])).toEqual([
      ['early', 'running'],
      ['late', 'running'],
      ['lost', 'failed'],
    ]);
    expect(logOf(runtime).filter(({ level }) => level === 'error')).toMatchObject([{ source: 'lost' }]);
  });

  test('426 where there is no binding, the network manager is unloaded and messages stay among local services', async () => {
    const runtime = await startRuntime(
      manifestFile(counterEntry('a', '<partner name="other" service="b"/>') + counterEntry('b')),
    );
    expect(runtime.network).toBeUndefined();
    expect(runtime.snapshot().nodeId).toBeUndefined();
    expect(runtime.prefix).toBe('dos:///');
    const a = runtime.proxy(Counter, 'dos:///a');
    expect(await a.addToPartner({ count: 5 })).toEqual({ count: 5 });
    // Nothing leaves: who is elsewhere cannot be asked, although there is somebody.
    const elsewhere = await startListening();
    await elsewhere.add(new Echo(), { name: 'echo' });
    const asked = runtime.proxy(Speech, `${elsewhere.prefix}echo`).say({ words: 'hello' });
    expect(await subcode(asked)).toBe('UnknownEntry');
    expect(runtime.snapshot().messages).toMatchObject({ out: 0 });
    expect(elsewhere.snapshot()).toMatchObject({ connections: [], messages: { in: 0 } });
  });
});

const Speech = contract(TEST, {
  operations: { say: Submit(body('Say', { words: text() }), body('Said', { words: text() })) },
});

class Echo extends Service<typeof Speech> {
  readonly contract = Speech;
  readonly handlers = { say: ({ body: { words } }: Call<{ words: string }>) => ({ words }) };
}

/** Starts when it is told to. */
class SlowStart extends Echo {
  begin!: () => void;
  begun = false;
  override async start(): Promise<void> {
    this.begun = true;
    await new Promise<void>((resolve) => (this.begin = resolve));
  }
}

describe('a service gets its URI', () => {
  test('428 a service registers itself with the URI manager', async () => {
    const runtime = await startRuntime();
    const echo = runtime.proxy(Speech, 'dos:///echo');
    expect(await subcode(echo.say({ words: 'early' }))).toBe('UnknownEntry');
    await runtime.add(new Echo(), { name: 'echo' });
    expect(await echo.say({ words: 'now' })).toEqual({ words: 'now' });
    await runtime.unload('echo');
    expect(await subcode(echo.say({ words: 'late' }))).toBe('UnknownEntry');
  });

  test('430 the security manager approves or refuses the registration', async () => {
    const policy = `<policy xmlns="urn:splitplane:policy:1">
      <role name="ours"><member principal="service:*"/></role>
      <allow roles="ours" register="front/*"/>
      <deny roles="ours" register="front/secret"/>
    </policy>`;
    const services = ['front/door', 'front/secret', 'back'].map((name) => counterEntry(name)).join('');
    const runtime = await startRuntime(manifestFile(services, '', policy));
    const states = runtime.snapshot().services.map(({ name, state }) => `${name} ${state}`);
    expect(states).toEqual(
      expect.arrayContaining(['front/door running', 'front/secret failed', 'back failed']),
    );
    expect(await failure(runtime.add(new Echo(), { name: 'back/door' }))).toMatchObject({
      fault: { subcodes: [{ localName: 'PermissionDenied' }] },
    });
    expect(await runtime.add(new Echo(), { name: 'front/window' })).toBe('dos:///front/window');
  });

  test('432-434 it gave a preferred name, or the URI manager generates a unique one', async () => {
    const runtime = await startRuntime();
    expect(await runtime.add(new Echo(), { name: 'front/door' })).toBe('dos:///front/door');
    const generated = await Promise.all([1, 2, 3].map(() => runtime.add(new Echo())));
    expect(new Set(generated).size).toBe(3);
    for (const uri of generated) {
      expect(isName(uri.slice(runtime.prefix.length))).toBe(true);
      expect(await runtime.proxy(Speech, uri).say({ words: uri })).toEqual({ words: uri });
    }
  });

  test('436 a prefix is put before the name: that is its URI', async () => {
    const local = await startRuntime();
    const listening = await startListening();
    const dialing = await startDialing();
    expect(await local.add(new Echo(), { name: 'echo' })).toBe('dos:///echo');
    const { host, port } = addressOf(listening.prefix);
    expect(await listening.add(new Echo(), { name: 'echo' })).toBe(`dos://${host}:${port}/echo`);
    expect(await dialing.add(new Echo(), { name: 'echo' })).toBe(
      `dos://${dialing.network?.nodeId}.node/echo`,
    );
    // The service knows it as well.
    const service = new Echo();
    expect(await listening.add(service, { name: 'other' })).toBe(service.uri);
  });

  test('440 the URI is associated with a port, and the pair written to the mapping table', async () => {
    const { uris, schedule } = await startKernel();
    const ports = ['a', 'b'].map(() => new Port({} as Catcher, schedule));
    const [a, b] = ports.map((target, index) =>
      uris.register({ principal: 'service:x', name: `number/${index}`, target }),
    );
    expect([...uris.entries()]).toEqual([a, b]);
    expect(uris.find(a?.uri ?? '')?.target).toBe(ports[0]);
    expect(uris.find(b?.uri ?? '')?.target).toBe(ports[1]);
    // One line for one URI: the first keeps it.
    const again = (): unknown =>
      uris.register({ principal: 'service:y', name: 'number/0', target: ports[1] as Port });
    expect((await failure(again)).message).toMatch(/taken/);
    expect(uris.find(a?.uri ?? '')?.target).toBe(ports[0]);
    expect(uris.remove(a?.uri ?? '')).toBe(true);
    expect(uris.find(a?.uri ?? '')).toBeUndefined();
  });

  test('442-444 a listener is started for it; then the next service', async () => {
    const runtime = await startRuntime();
    const first = new SlowStart();
    const added = runtime.add(first, { name: 'first' });
    // What is sent to the URI from now on is taken in, although the service is not ready.
    const early = runtime.proxy(Speech, 'dos:///first').say({ words: 'early' });
    // The next one does not wait for it.
    await runtime.add(new Echo(), { name: 'second' });
    const second = runtime.proxy(Speech, 'dos:///second');
    expect(await second.say({ words: 'second' })).toEqual({ words: 'second' });
    expect(guestsOf(runtime)[0]).toMatchObject({ state: 'starting', port: { depth: 1 } });
    first.begin();
    expect(await early).toEqual({ words: 'early' });
    expect(await added).toBe('dos:///first');
  });
});

describe('a service sends a message', () => {
  test('446-448 a service selects a verb', async () => {
    const kernel = await startKernel();
    const port = new Catcher(kernel, 'any');
    const question = body('Question', {});
    const operations = {
      create: Create(question),
      get: Get(question, body('GetAnswer', {})),
      query: Query(question),
      insert: Insert(question),
      update: Update(question),
      upsert: Upsert(question),
      replace: Replace(question),
      delete: Delete(question),
      submit: Submit(question),
    };
    const client = kernel.client({ principal: 'test', owner: undefined });
    const proxy = client.proxy(contract(TEST, { operations, notifications: {}, state: question }), port.uri);
    const asked = [
      ...Object.keys(operations).map((name) => proxy[name as keyof typeof operations]({})),
      proxy.$lookup(),
      proxy.$drop(),
    ];
    const expected = [...Object.values(operations).map(({ verb }) => verb), 'Lookup', 'Drop'];
    for (const verb of expected) {
      const delivery = await port.take();
      expect(delivery.verb).toBe(verb);
      expect(delivery.envelope.action).toBe(`${DSSP}:${verb}Request`);
      port.answer(delivery);
    }
    // The catcher's answer is in no contract, and that is noticed.
    for (const outcome of await Promise.allSettled(asked)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'MESSAGE_INVALID' } });
    }
    expect(VERBS.map((verb) => verbOf(`${DSSP}:${verb}Request`))).toEqual([...VERBS]);
    expect(verbOf(`${DSSP}:DestroyRequest`)).toBeUndefined();
  });

  test('450 it creates a reference for each memory buffer that holds part of the data', async () => {
    const { envelope } = await sentFrame();
    expect(envelope.references).toMatchObject([
      { lengthBytes: LARGE, access: 'read' },
      { lengthBytes: LARGE / 2, access: 'read' },
    ]);
    expect(new Set(envelope.references.map(({ cid }) => cid)).size).toBe(2);
  });

  test('452 it creates a message that complies with SOAP', async () => {
    const { root } = await sentFrame();
    expect(root.is(SOAP, 'Envelope')).toBe(true);
    expect(root.elements().map(({ namespace, localName }) => [namespace, localName])).toEqual([
      [SOAP, 'Header'],
      [SOAP, 'Body'],
    ]);
    const header = root.child(SOAP, 'Header');
    for (const name of ['To', 'Action', 'MessageID']) expect(header?.child(WSA, name)?.text()).not.toBe('');
  });

  test('454 each reference is placed in the header of the message', async () => {
    const { root, envelope } = await sentFrame();
    const block = root.child(SOAP, 'Header')?.child(REFERENCES, 'References');
    expect(block?.elements().map((one) => one.attribute('cid'))).toEqual(
      envelope.references.map(({ cid }) => cid),
    );
    // There, and nowhere else.
    const inBody = [...elementsOf(root.child(SOAP, 'Body') as XmlElement)];
    expect(inBody.some(({ namespace }) => namespace === REFERENCES)).toBe(false);
  });

  test('456 the body refers to those references, in connection with the verb', async () => {
    const { root, envelope } = await sentFrame();
    expect(envelope.action).toBe(`${DSSP}:SubmitRequest`);
    const told = root.child(SOAP, 'Body')?.child(SCREEN, 'Frame');
    const hrefs = ['left', 'right'].map((name) =>
      told?.child(SCREEN, name)?.child(XOP, 'Include')?.attribute('href'),
    );
    expect(hrefs).toEqual(envelope.references.map(({ cid }) => `cid:${cid}`));
  });
});

/** A frame with two buffers, as its sender hands it over, and what an outside reader makes of it. */
async function sentFrame(): Promise<{ envelope: Envelope; root: XmlElement }> {
  const runtime = await startRuntime();
  const [left, right] = [runtime.allocate(LARGE), runtime.allocate(LARGE / 2)];
  const composed = compose(Frame, SCREEN, { sequence: 1, left, right, note: element(TEST, 'Note') });
  const envelope = requestOf('dos:///screen', `${DSSP}:SubmitRequest`, composed);
  left.release();
  right.release();
  return { envelope, root: readXml(new XmlSerializer().encode(envelope).toString('utf8')) };
}

describe('the dispatcher', () => {
  test('458-462 the dispatcher checks that a message is SOAP and reads its header for the destination', async () => {
    const kernel = await startKernel();
    const port = new Catcher(kernel, 'there');
    const client = kernel.client({ principal: 'test', owner: undefined });
    // A message whose body cannot even be read finds its way: nobody looked into it.
    const unread = Envelope.fromProperties(
      {
        to: port.uri,
        action: `${DSSP}:GetRequest`,
        messageId: 'urn:x',
        relatesTo: undefined,
        references: [],
      },
      () => expect.fail('The dispatcher read the body.'),
    );
    const answered = client.send(unread, []);
    const delivery = await port.take();
    expect(delivery.envelope).toBe(unread);
    port.answer(delivery);
    (await answered).release();
    // What is no SOAP message goes nowhere, and what went with it comes back.
    for (const nothing of [undefined, '<Envelope/>', { to: port.uri, action: 'urn:x', body: [] }]) {
      const memory = kernel.allocate(16);
      const sent = client.send(nothing as never, [{ cid: 'a', giving: memory }]);
      expect((await failure(sent)).code).toBe('INVALID_ARGUMENT');
      expect(memory.released).toBe(true);
    }
    // A mandatory block that nobody here understands: SOAP says that the message is not to be processed.
    const mustUnderstand = { namespace: SOAP, localName: 'mustUnderstand', value: 'true', prefix: 's' };
    const block = new XmlElement(TEST, 'Transaction', [], [mustUnderstand]);
    const strange = Envelope.of({ to: port.uri, action: `${DSSP}:GetRequest`, headers: [block] });
    const refused = await client.send(strange, []);
    expect(refused.envelope.fault?.code).toBe('MustUnderstand');
    expect(port.caught).toEqual([]);
  });

  test('464-466 a local destination gets the message directly, in infoset form: never serialized', async () => {
    const runtime = await startRuntime();
    const screen = new Screen();
    const proxy = runtime.proxy(Camera, await runtime.add(screen, { name: 'screen' }));
    const [left, right] = [filledBuffer(runtime, LARGE, 1), runtime.allocate(LARGE)];
    // An element that XML could not even hold: no serializer has seen it.
    const note = new XmlElement(TEST, 'not a name', ['\u0000']);
    let returned = 0;
    await proxy.show({ sequence: 7, left, right: lend(right, 'read', () => returned++), note });
    // The very element and the very buffers: one changed owner, the other came back.
    expect(screen.calls[0]?.body.note).toBe(note);
    expect(screen.resolved).toEqual([left, right]);
    expect(screen.resolved[0]).toBe(left);
    expect(screen.resolved[1]).toBe(right);
    expect(left.released).toBe(false);
    expect(returned).toBe(0);
    screen.releaseAll();
    expect(left.released).toBe(true);

    // And the very envelope, of which no encoding made anything.
    const kernel = await startKernel();
    const port = new Catcher(kernel, 'there');
    const sent = Envelope.of({ to: port.uri, action: `${DSSP}:GetRequest`, body: note });
    const answered = kernel.client({ principal: 'test', owner: undefined }).send(sent, []);
    const delivery = await port.take();
    expect(delivery.envelope).toBe(sent);
    expect(note.encoded).toBeUndefined();
    port.answer(delivery);
    (await answered).release();
  });

  test('468 any other goes to the network manager', async () => {
    const home = await startListening();
    const away = await startDialing();
    await home.add(new Echo(), { name: 'echo' });
    await away.add(new Echo(), { name: 'echo' });
    expect(await away.proxy(Speech, `${away.prefix}echo`).say({ words: 'here' })).toEqual({ words: 'here' });
    expect(away.network?.connections).toHaveLength(0);
    expect(await away.proxy(Speech, `${home.prefix}echo`).say({ words: 'there' })).toEqual({
      words: 'there',
    });
    expect(away.network?.connections[0]?.facts.messagesSent).toBe(1);
    expect(away.snapshot().messages).toMatchObject({ local: 1, out: 1, in: 0 });
    expect(home.snapshot().messages).toMatchObject({ local: 0, out: 0, in: 1 });
  });
});

/** HOST and PORT of a prefix. */
function addressOf(prefix: string): { host: string; port: number } {
  const { hostname: host, port } = new URL(prefix.replace('dos:', 'http:'));
  return { host, port: Number(port) };
}
