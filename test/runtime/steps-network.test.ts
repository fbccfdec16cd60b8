// The steps of the decentralized operating system's flow chart that happen on the network, one test for each: two runtimes over TCP,
// with a proxy between them that keeps what passes.
import { describe, expect, test } from 'vitest';
import { element, FastInfosetSerializer, type Envelope, type XmlElement } from '../../lib/index.js';
import { compose, requestOf } from '../../lib/runtime/compose.js';
import { DSSP, REFERENCES } from '../../lib/soap/namespaces.js';
import { until } from '../support/events.js';
import { Proxy } from '../support/proxy.js';
import {
  Catcher,
  filledBuffer,
  pattern,
  startDialing,
  startKernel,
  startListening,
} from '../support/runtimes.js';
import { Camera, Frame, LARGE, Screen, SCREEN } from './services/screen.js';

const TEST = 'urn:splitplane:test:steps';

/** A frame on its way from one runtime to another, whose receiver has it and has not answered yet. */
async function frameOnItsWay() {
  const home = await startKernel('listening');
  const away = await startKernel('dialing');
  const port = new Catcher(home, 'screen');
  const proxy = await Proxy.before(home.listening[0]?.address ?? '');
  const wire: Buffer[] = [];
  proxy.tamper = (bytes, { direction }) => {
    if (direction === 'up') wire.push(Buffer.from(bytes));
    return bytes;
  };
  const left = filledBuffer(away, LARGE, 1);
  const right = filledBuffer(away, LARGE / 2, 2);
  const composed = compose(Frame, SCREEN, { sequence: 1, left, right, note: element(TEST, 'Note', 'hello') });
  const sent = requestOf(
    `${proxy.address.replace('tcp:', 'dos:')}/screen`,
    `${DSSP}:SubmitRequest`,
    composed,
  );
  const answer = away.client({ principal: 'test', owner: undefined }).send(sent, composed.gifts);
  const delivery = await port.take();
  const end = async (): Promise<void> => {
    port.answer(delivery);
    (await answer).release();
  };
  /** What has passed the proxy towards the receiver, as bytes of one letter each. */
  const passed = (): string => Buffer.concat(wire).toString('latin1');
  return { home, away, sent, left, delivery, passed, end };
}

/** The first message among these bytes, in the encoding that both sides have: no shorter part of it is one. */
function envelopeIn(bytes: string): Envelope | undefined {
  const serializer = new FastInfosetSerializer();
  const start = bytes.indexOf('\xe0\x00\x00\x01');
  for (let end = start + 1; start >= 0 && end <= bytes.length; end++) {
    try {
      const envelope = serializer.decodeHeader(Buffer.from(bytes.slice(start, end), 'latin1'));
      if (envelope.body.length > 0) return envelope;
    } catch {
      // Not all of it yet.
    }
  }
  return undefined;
}

describe('a message crosses the network', () => {
  test("470 the network manager processes the tags that reference buffers in this machine's memory", async () => {
    const { away, sent, delivery, end } = await frameOnItsWay();
    // The service said which buffers; the manager made each a tag that its memory honours.
    expect(sent.references.map(({ tag }) => tag)).toEqual([undefined, undefined]);
    const tags = delivery.envelope.references.map(({ tag }) => tag);
    for (const tag of tags) expect(tag).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(new Set(tags).size).toBe(2);
    expect(away.network?.stats.exposures).toBe(2);
    await end();
    await until(() => away.network?.stats.exposures === 0);
  });

  test('472 it serializes the message, tags included, with a serializer', async () => {
    const { delivery, passed, end } = await frameOnItsWay();
    const envelope = envelopeIn(passed());
    const block = envelope?.blocks.find((one) => one.is(REFERENCES, 'References'));
    expect(block?.elements().map((one) => one.attribute('tag'))).toEqual(
      delivery.envelope.references.map(({ tag }) => tag),
    );
    const [frame] = envelope?.body ?? [];
    expect(frame?.is(SCREEN, 'Frame')).toBe(true);
    expect(frame?.child(SCREEN, 'sequence')?.text()).toBe('1');
    await end();
  });

  test('474 a separator prepares the message for direct memory operations', async () => {
    const { delivery, passed, end } = await frameOnItsWay();
    const sample = pattern(LARGE, 1).subarray(1000, 1064).toString('latin1');
    // The message is there, whole, and of the data not one byte has been sent: that waits for who wants it.
    expect(envelopeIn(passed())).toBeDefined();
    expect(passed().length).toBeLessThan(LARGE / 8);
    expect(passed()).not.toContain(sample);
    using resolved = await delivery.attached[0]?.resolve();
    expect(resolved?.length).toBe(LARGE);
    expect(passed()).toContain(sample);
    await end();
  });

  test('478 the serialized message travels in a transmission protocol', async () => {
    const { home, away, passed, end } = await frameOnItsWay();
    // Records of TCP (docs/WIRE_PROTOCOL.md), which begin with the greeting of the transport; and no other way.
    expect(passed()).toContain('SPLT');
    for (const { network } of [home, away]) {
      expect(network?.connections.map(({ facts }) => facts.transport)).toEqual(['tcp']);
    }
    await end();
  });

  test("480-482 the second machine's network manager receives and extracts it", async () => {
    const { home, sent, delivery, end } = await frameOnItsWay();
    expect(home.network?.connections[0]?.facts.inbox).toMatchObject({ received: 1, refused: 0 });
    expect(delivery.connection).toBe(home.network?.connections[0]);
    const { to, action, messageId } = sent;
    expect(delivery.envelope).toMatchObject({ to, action, messageId });
    expect(delivery.attached.map(({ length, access }) => [length, access])).toEqual([
      [LARGE, 'read'],
      [LARGE / 2, 'read'],
    ]);
    await end();
  });

  test("484 its processor resolves the tags into buffers in the second machine's memory", async () => {
    const { home, left, delivery, end } = await frameOnItsWay();
    expect(home.memory?.buffers).toBe(0);
    const [first, second] = delivery.attached;
    const resolved = await first?.resolve();
    expect(home.memory?.buffers).toBe(1);
    expect(resolved?.buffer).not.toBe(left);
    expect(resolved?.bytes.equals(pattern(LARGE, 1))).toBe(true);
    // Or into memory that the receiver has already.
    const own = home.allocate(LARGE / 2);
    await second?.resolve({ into: own });
    expect(own.bytes.equals(pattern(LARGE / 2, 2))).toBe(true);
    resolved?.release();
    own.release();
    await end();
  });

  test('486 it deserializes the message, and its dispatcher delivers it', async () => {
    const home = await startListening();
    const away = await startDialing();
    const screen = new Screen();
    const proxy = away.proxy(Camera, await home.add(screen, { name: 'screen' }));
    const note = element(TEST, 'Note', [element('', 'plain', 'a < b & "c"'), 'text']);
    const [left, right] = [filledBuffer(away, LARGE, 1), filledBuffer(away, LARGE, 2)];
    expect(await proxy.show({ sequence: 7, left, right, note })).toEqual({ sequence: 7 });
    // The same infoset in another object; the same bytes in another memory.
    const [call] = screen.calls;
    expect(call?.body.sequence).toBe(7);
    expect(call?.body.note).not.toBe(note);
    expect(plain(call?.body.note as XmlElement)).toEqual(plain(note));
    expect(screen.resolved.map(({ bytes }) => bytes.equals(pattern(LARGE, 1)))).toEqual([true, false]);
    expect(screen.resolved[1]?.bytes.equals(pattern(LARGE, 2))).toBe(true);
    expect(left.released).toBe(true);
    screen.releaseAll();
  });
});

/** Names, text and order, without what encodings remember. */
function plain(node: XmlElement | string): unknown {
  if (typeof node === 'string') return node;
  return [node.namespace, node.localName, node.children.map(plain)];
}
