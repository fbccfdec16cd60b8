// `splitplane call URI VERB [BODY]`: one request to a service, whose contract need not be known here, and its answer.
import { Command, InvalidArgumentError } from 'commander';
import { giveBack } from '../runtime/attached.js';
import { requestOf } from '../runtime/compose.js';
import type { Answer, Gift } from '../runtime/delivery.js';
import { LOOKUP, DROP, SERVICE, type ServiceDescription } from '../runtime/service-contract.js';
import { requestActionOf, VERBS, type Verb } from '../runtime/verbs.js';
import { XmlSerializer, xmlSerializer } from '../serializer/xml.js';
import type { Envelope } from '../soap/envelope.js';
import { XmlElement } from '../soap/infoset.js';
import { FaultAnswer, UsageError } from './failure.js';
import { interruptible, seconds } from './options.js';
import { contentOf, printElement, printEnvelope } from './runtime/element-output.js';
import { printBuffers, takeBuffers, type BufferFacts } from './runtime/message-buffers.js';
import { addRemoteOptions, parseServicePlace, Remote, type RemoteOptions } from './runtime/remote.js';
import { FilesOfBody, inNamespace, readBody } from './runtime/request-body.js';
import { print, printJson } from './terminal.js';

const HELP = `
URI is dos://HOST:PORT/NAME, rdma://HOST:PORT/NAME or unix:/SOCKET:NAME. VERB is one of
${VERBS.slice(0, 7).join(', ')},
${VERBS.slice(7).join(', ')}.

BODY is XML text, @FILE, or - for standard input. Names without a namespace are in that of the contract. Where
it is left out, and the contract has one body for this verb, an empty element of that name is sent.

A file given with --buffer travels by reference. The first is buffer-0, the next buffer-1; an element of BODY
whose text is cid:buffer-0, or cid: and the name of the file, gets it.

Examples:
  splitplane call dos://127.0.0.1:7350/recorder Lookup
  splitplane call dos://127.0.0.1:7350/recorder Get
  splitplane call dos://127.0.0.1:7350/recorder Insert \\
    '<Frame><sequence>7</sequence><pixels>cid:frame.raw</pixels></Frame>' --buffer frame.raw
  splitplane call dos://127.0.0.1:7350/recorder Query @query.xml --into ./frames --json`;

const TIMEOUT_SECONDS_MAX = 86_400;

interface CallOptions extends RemoteOptions {
  readonly buffer: readonly string[];
  readonly into?: string | undefined;
  readonly raw: boolean;
  readonly timeout: number;
}

export function callCommand(): Command {
  const command = new Command('call')
    .description('ask a service for something and print its answer')
    .argument('<uri>', 'the service')
    .argument('<verb>', 'what to ask for', verbNamed)
    .argument('[body]', 'XML text, @FILE, or - for standard input')
    .option(
      '--buffer <file>',
      'a file to send by reference (may be repeated)',
      (file, before: string[]) => [...before, file],
      [],
    )
    .option('--into <dir>', 'store the buffers of the answer there')
    .option('--raw', 'print both messages whole, with their headers', false)
    .option('--timeout <seconds>', 'how long the answer may take', seconds(0.001, TIMEOUT_SECONDS_MAX), 30);
  return addRemoteOptions(command, 'the answer as one JSON line').addHelpText('after', HELP).action(call);
}

async function call(uri: string, verb: Verb, body: string | undefined, options: CallOptions): Promise<void> {
  const place = parseServicePlace(uri);
  const given = body === undefined ? undefined : await readBody(body);
  const recorder = new Recorder();
  await interruptible(options.json, async (signal) => {
    await using remote = await Remote.connect(place.address, options, signal, [recorder]);
    const to = remote.uriOf(place.name);
    const element = await completed(given, verb, () => remote.lookup(to, signal));
    const { envelope, gifts } = await compose(remote, to, verb, element, options.buffer);
    recorder.wanted = envelope.messageId;
    const timeoutMs = options.timeout * 1000;
    const answer = await remote.client.send(envelope, gifts, { signal, timeoutMs });
    try {
      const { fault } = answer.envelope;
      if (options.raw) showEnvelopes(recorder.sent ?? envelope, answer.envelope, options.json);
      if (fault !== undefined) throw new FaultAnswer(fault);
      await show(answer, options, signal);
    } finally {
      answer.release();
    }
  });
}

function verbNamed(text: string): Verb {
  const verb = VERBS.find((known) => known.toLowerCase() === text.toLowerCase());
  if (verb !== undefined) return verb;
  throw new InvalidArgumentError(`It is one of ${VERBS.join(', ')}.`);
}

/** The body to send: what was given, in the namespace of the contract if in none, or the empty one that the verb has. */
async function completed(
  given: XmlElement | undefined,
  verb: Verb,
  lookup: () => Promise<ServiceDescription>,
): Promise<XmlElement> {
  if (given !== undefined)
    return given.namespace === '' ? inNamespace(given, (await lookup()).contract) : given;
  if (verb === 'Lookup') return new XmlElement(SERVICE, LOOKUP.request.name);
  if (verb === 'Drop') return new XmlElement(SERVICE, DROP.request.name);
  const { contract, operations, state } = await lookup();
  const bodies = operations.filter((operation) => operation.verb === verb).map((operation) => operation.body);
  if (verb === 'Get' && state !== undefined) bodies.push('Get');
  const [only, ...more] = bodies;
  if (only === undefined) {
    const verbs = [...new Set(operations.map((operation) => operation.verb))].join(', ');
    throw new UsageError(`${contract} has no ${verb}; it has ${verbs}. Give another verb, or a BODY.`);
  }
  if (more.length === 0) return new XmlElement(contract, only);
  throw new UsageError(
    `${contract} has ${verb} with ${bodies.join(', ')}. Give a BODY, for example <${only}/>.`,
  );
}

/** The request, with the files that it takes along. */
async function compose(
  { network }: Remote,
  to: string,
  verb: Verb,
  element: XmlElement,
  paths: readonly string[],
): Promise<{ envelope: Envelope; gifts: readonly Gift[] }> {
  const files = new FilesOfBody(paths);
  const body = files.placedIn(element);
  const gifts: Gift[] = [];
  try {
    for (const [index, path] of paths.entries()) {
      gifts.push({ cid: files.cids[index] ?? '', giving: await network.registerFile(path) });
    }
    return { envelope: requestOf(to, requestActionOf(verb), { element: body, gifts }), gifts };
  } catch (error) {
    giveBack(gifts);
    throw error;
  }
}

function showEnvelopes(request: Envelope, answer: Envelope, json: boolean): void {
  if (json) {
    const [sent, received] = [request, answer].map((envelope) => xmlSerializer.encode(envelope).toString());
    printJson({ request: sent, answer: received });
    return;
  }
  print('--- request');
  printEnvelope(request);
  print('--- answer');
  printEnvelope(answer);
}

async function show(
  { envelope, attached }: Answer,
  options: CallOptions,
  signal: AbortSignal,
): Promise<void> {
  const { into, json, raw } = options;
  const buffers = envelope.references.flatMap(({ cid }, index) => {
    const item = attached[index];
    return item === undefined ? [] : [{ cid, attached: item }];
  });
  const facts: readonly BufferFacts[] = await takeBuffers(buffers, { into, signal });
  const [body] = envelope.body;
  if (json) {
    const { namespace, localName } = body ?? {};
    printJson({ element: localName, namespace, content: body && contentOf(body), buffers: facts });
    return;
  }
  if (!raw && body !== undefined) printElement(body);
  printBuffers(facts);
}

/** Text XML that remembers one message as it left, with the tags that it got on the way. */
class Recorder extends XmlSerializer {
  /** The wsa:MessageID of that message. */
  wanted: string | undefined;
  sent: Envelope | undefined;

  override encodeInto(envelope: Envelope, target: Buffer, offset: number): number {
    if (envelope.messageId === this.wanted) this.sent = envelope;
    return super.encodeInto(envelope, target, offset);
  }
}
