// `splitplane call` as a real process against a `splitplane run`: bodies in all their forms, buffers both ways, answers and faults
// for people and for programs.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CONTRACT, manifestOf, PARTS, Running } from './runtime-support.js';
import { Command, digests, makeDirectory, outcomeOf, pattern, sha256, splitplane } from './support.js';

const FRAME = '<Frame><sequence>7</sequence><label>seven</label><pixels>cid:buffer-0</pixels></Frame>';
const KEY = '<Key><sequence>7</sequence></Key>';

/** A runtime that has stored frame 7, and the file with its bytes. */
async function withFrame(length: number): Promise<{ running: Running; uri: string; file: string }> {
  const running = await Running.start();
  const uri = running.uri('recorder');
  const file = join(running.directory, 'frame.raw');
  writeFileSync(file, pattern(length));
  const { code, json } = await splitplane('call', uri, 'Insert', FRAME, '--buffer', file, '--json');
  expect(code).toBe(0);
  expect(json).toEqual([
    {
      element: 'Stored',
      namespace: CONTRACT,
      content: { sequence: '7', bytes: String(length) },
      buffers: [],
    },
  ]);
  return { running, uri, file };
}

describe('bodies', () => {
  test('where the contract has one for the verb, it need not be given', async () => {
    const running = await Running.start();
    const { code, lines } = await splitplane('call', running.uri('recorder'), 'get');
    expect(code).toBe(0);
    expect(lines).toEqual([`<b:State xmlns:b="${CONTRACT}">`, '  <b:frames>0</b:frames>', '</b:State>']);
  });

  test('where there are several, or none, it says which', async () => {
    const running = await Running.start();
    const several = await splitplane('call', running.uri('recorder'), 'Delete');
    expect(several).toMatchObject({
      code: 2,
      errors: expect.stringContaining(`${CONTRACT} has Delete with Key, Everything. Give a BODY`) as string,
    });
    const none = await splitplane('call', running.uri('recorder'), 'Upsert');
    expect(none).toMatchObject({
      code: 2,
      errors: expect.stringContaining(`${CONTRACT} has no Upsert; it has Insert, Query`) as string,
    });
  });

  test('from the command line, a file and standard input, with or without the namespace', async () => {
    const { uri, running } = await withFrame(10);
    const file = join(running.directory, 'key.xml');
    const whole = `<?xml version="1.0"?>\n<k:Key xmlns:k="${CONTRACT}"><k:sequence>7</k:sequence></k:Key>`;
    writeFileSync(file, whole);
    const outcomes = [
      await splitplane('call', uri, 'Query', KEY, '--json'),
      await splitplane('call', uri, 'Query', `@${file}`, '--json'),
      await outcomeOf(new Command(['call', uri, 'Query', '-', '--json'], { input: whole })),
    ];
    for (const { code, json } of outcomes) {
      expect(code).toBe(0);
      expect(json).toMatchObject([{ element: 'FrameResponse' }]);
    }
  });

  test('one that is no XML is told with line and column', async () => {
    const { code, errors } = await splitplane('call', 'dos://127.0.0.1:1/x', 'Query', '<Key>\n<a></Key>');
    expect(code).toBe(2);
    expect(errors).toMatch(/BODY:2:\d+: The body is not well-formed XML/);
  });

  test('of Lookup and Drop, every service knows', async () => {
    const running = await Running.start();
    const uri = running.uri('recorder');
    const lookup = await splitplane('call', uri, 'Lookup', '--json');
    expect(lookup.json).toMatchObject([
      { element: 'LookupResponse', content: { uri, contract: CONTRACT, state: 'State' } },
    ]);
    expect((await splitplane('call', uri, 'Drop')).code).toBe(0);
    await running.logged('The recorder has stopped.');
    expect((await splitplane('call', uri, 'Get')).code).toBe(6);
  });
});

describe('buffers', () => {
  test('of 20 MB go there by reference and come back into a file', async () => {
    const length = 20_000_000;
    const { uri, file } = await withFrame(length);
    const into = join(makeDirectory(), 'frames');
    const { code, lines } = await splitplane('call', uri, 'Query', KEY, '--into', into);
    expect(code).toBe(0);
    expect(lines.at(-1)).toBe(`buffer pixels: 20.0 MB, in ${into}/pixels`);
    expect(digests(into)).toEqual({ pixels: sha256(readFileSync(file)) });
  });

  test('are listed with their length, and what is as small as a message too', async () => {
    const { uri } = await withFrame(3);
    const { lines } = await splitplane('call', uri, 'Query', KEY);
    expect(lines).toContain(
      '    <xop:Include href="cid:pixels" xmlns:xop="http://www.w3.org/2004/08/xop/include"/>',
    );
    expect(lines.at(-1)).toBe('buffer pixels: 3 B');
    const { json } = await splitplane('call', uri, 'Query', KEY, '--json');
    expect(json).toEqual([
      {
        element: 'FrameResponse',
        namespace: CONTRACT,
        content: { sequence: '7', label: ['seven', 'seven'], pixels: { buffer: 'pixels' } },
        buffers: [{ cid: 'pixels', bytes: 3 }],
      },
    ]);
  });

  test('are referred to by the name of the file, or in xop:Include', async () => {
    const running = await Running.start();
    const file = join(running.directory, 'my frame.raw');
    writeFileSync(file, 'pixels');
    const xop = 'xmlns:xop="http://www.w3.org/2004/08/xop/include"';
    for (const [sequence, reference] of [
      'cid:my frame.raw',
      `<xop:Include ${xop} href="cid:my frame.raw"/>`,
      `<xop:Include ${xop} href="cid:buffer-0"/>`,
    ].entries()) {
      const body = `<Frame><sequence>${sequence}</sequence><pixels>${reference}</pixels></Frame>`;
      const { code } = await splitplane('call', running.uri('recorder'), 'Insert', body, '--buffer', file);
      expect(code).toBe(0);
    }
  });

  test('that the body does not refer to, or refers to in vain, are mistakes', async () => {
    const running = await Running.start();
    const file = join(running.directory, 'recorder.mjs');
    const uri = running.uri('recorder');
    const unused = await splitplane('call', uri, 'Query', KEY, '--buffer', file);
    expect(unused).toMatchObject({ code: 2, lines: [] });
    expect(unused.errors).toContain('The body does not refer to');
    const include = '<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:other"/>';
    const body = `<Frame><sequence>1</sequence><pixels>${include}</pixels></Frame>`;
    const vain = await splitplane('call', uri, 'Insert', body, '--buffer', file);
    expect(vain).toMatchObject({ code: 2, lines: [] });
    expect(vain.errors).toContain('There are recorder.mjs, buffer-0.');
    const missing = await splitplane('call', uri, 'Insert', FRAME, '--buffer', `${file}.none`);
    expect(missing).toMatchObject({ code: 1, lines: [] });
  });
});

describe('answers', () => {
  test('--raw shows both messages with their headers, tags included', async () => {
    const { uri, file } = await withFrame(100_000);
    const body = FRAME.replace('7', '8');
    const { code, lines } = await splitplane('call', uri, 'Insert', body, '--buffer', file, '--raw');
    expect(code).toBe(0);
    const [request = '', answer = ''] = lines.join('\n').replace('--- request\n', '').split('\n--- answer\n');
    expect(request).toContain(`<wsa:To>${uri}</wsa:To>`);
    expect(request).toMatch(/<sp:Reference cid="buffer-0" tag="[\w-]{43}" length="100000" access="read"\/>/);
    const id = /<wsa:MessageID>(.*)<\/wsa:MessageID>/.exec(request)?.[1] ?? '';
    expect(answer).toContain(`<wsa:RelatesTo>${id}</wsa:RelatesTo>`);
    expect(answer).toContain('dssp.html:InsertResponse</wsa:Action>');
    const { json } = await splitplane('call', uri, 'Get', '--raw', '--json');
    expect(json).toEqual([
      {
        request: expect.stringContaining('GetRequest') as string,
        answer: expect.stringContaining('GetResponse') as string,
      },
      expect.objectContaining({ element: 'State' }),
    ]);
  });

  test('that are faults are told with code, subcode and reason, and exit with 6', async () => {
    const running = await Running.start();
    const uri = running.uri('recorder');
    const people = await splitplane('call', uri, 'Query', KEY);
    expect(people).toMatchObject({
      code: 6,
      lines: [],
      errors: 'splitplane: Sender, UnknownEntry: There is no frame 7. [FAULT]\n',
    });
    const programs = await splitplane('call', uri, 'Query', KEY, '--json');
    expect(programs.code).toBe(6);
    expect(JSON.parse(programs.errors)).toEqual({
      error: {
        code: 'FAULT',
        message: 'There is no frame 7.',
        faultCode: 'Sender',
        subcode: 'UnknownEntry',
      },
    });
  });

  test('that do not come within --timeout are a fault', async () => {
    const running = await Running.start();
    const { code, errors } = await splitplane(
      'call',
      running.uri('recorder'),
      'Submit',
      '<Wait/>',
      '--timeout',
      '0.2',
    );
    expect(code).toBe(6);
    expect(errors).toContain('ResponseTimeout');
    await running.logged('no longer waiting');
  });

  test('Ctrl-C gives up the request at the service, too', async () => {
    const running = await Running.start();
    const command = new Command(['call', running.uri('recorder'), 'Submit', '<Wait/>']);
    await running.logged('waiting');
    expect(await command.end('SIGINT')).toBe(130);
    await running.logged('no longer waiting');
  });
});

describe('places', () => {
  test('a unix socket', async () => {
    const socket = join(makeDirectory(), 'socket');
    const listen = `<network listen="unix:${socket}"/>`;
    await Running.start({ text: manifestOf(PARTS.unsecured, listen, PARTS.recorder) });
    const { code, json } = await splitplane('call', `unix:${socket}:recorder`, 'Get', '--json');
    expect({ code, json }).toMatchObject({ code: 0, json: [{ element: 'State' }] });
  });

  test('nobody there is exit code 3, a name that none has a fault', async () => {
    const running = await Running.start();
    const nobody = await splitplane('call', 'dos://127.0.0.1:1/recorder', 'Get');
    expect(nobody.code).toBe(3);
    const nothing = await splitplane('call', running.uri('nothing'), 'Get');
    expect(nothing.code).toBe(6);
    expect(nothing.errors).toContain('UnknownEntry: There is no service at');
  });

  test.each(['recorder', 'dos:///recorder', 'dos://127.0.0.1:1/', 'dos://127.0.0.1:1/a b'])(
    '%s is none',
    async (place) => {
      const { code, errors } = await splitplane('call', place, 'Get');
      expect(code).toBe(2);
      expect(errors).toContain('names no service');
    },
  );
});
