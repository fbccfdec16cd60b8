// One of two processes between which large messages travel while somebody breaks their link, on purpose. Both check everything:
// each message arrives once and in order, and its buffer has the SHA-256 that the message names. Argument:
//   { "role": "receive", "listen": "HOST:PORT", "allowInsecure"?, "options"? }
//   { "role": "send", "connect": "HOST:PORT", "messages", "bufferBytes"?, "atOnce"?, "allowInsecure"?, "options"? }
// Tells events, one JSON object each: over the channel of the process that started it, or else on standard output.
//   { listening: address, addresses, passedOver }  { open: transport, passedOver }
//   { interrupted: code }  { resumed: transport, previous, passedOver }
//   { sent: index, transport }  { received: index, transport }  { wrong: index, what }
//   { done: { messages, bytes, wrong, resumed, failedOver } }   the last; exit code 0 if nothing was wrong
// A receiver is done when its first connection is; it fails where that did not end in good order.
import { createHash, randomFillSync } from 'node:crypto';
import {
  element,
  Envelope,
  NetworkManager,
  type Connection,
  type Message,
  type NetworkManagerOptions,
  type RegisteredBuffer,
} from '../../../lib/index.js';

interface Common {
  readonly allowInsecure?: boolean;
  readonly options?: NetworkManagerOptions;
}
interface Receive extends Common {
  readonly role: 'receive';
  readonly listen: string;
}
interface Send extends Common {
  readonly role: 'send';
  readonly connect: string;
  readonly messages: number;
  readonly bufferBytes?: number;
  readonly atOnce?: number;
}

const NAMESPACE = 'urn:splitplane:test:failover';
const BUFFER_BYTES = 8 << 20;
const AT_ONCE = 4;

const argument = JSON.parse(process.argv[2] ?? '{}') as Receive | Send;
const { allowInsecure = false, options = {} } = argument;
const manager = new NetworkManager(options);
const counts = { messages: 0, bytes: 0, wrong: 0, resumed: 0, failedOver: 0 };

function tell(event: Record<string, unknown>): void {
  if (process.send === undefined) process.stdout.write(`${JSON.stringify(event)}\n`);
  else process.send(event);
}

function wrong(index: number, what: string): void {
  counts.wrong++;
  tell({ wrong: index, what });
}

function follow(connection: Connection): void {
  const { transport, passedOver } = connection.facts;
  tell({ open: transport, passedOver });
  connection.on('interrupted', ({ code }) => {
    tell({ interrupted: code });
  });
  connection.on('resumed', (how) => {
    counts.resumed++;
    if (how.transport !== how.previous) counts.failedOver++;
    tell({ resumed: how.transport, previous: how.previous, passedOver: how.passedOver });
  });
}

function done(): void {
  tell({ done: counts });
  process.exitCode = counts.wrong === 0 ? 0 : 1;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function receive({ listen }: Receive): Promise<void> {
  manager.once('connection', (connection) => {
    follow(connection);
    connection.once('close', ({ code }) => {
      if (code !== 'CLOSED') wrong(counts.messages, `the connection ended with ${code}`);
      manager.destroy();
    });
  });
  const { address, addresses, passedOver } = await manager.listen(listen, { allowInsecure });
  tell({ listening: address, addresses, passedOver });
  for await (const message of manager.messages) {
    await take(message).catch((error: unknown) => {
      wrong(counts.messages, String(error));
    });
  }
  done();
}

async function take(message: Message): Promise<void> {
  const expected = counts.messages++;
  const [index, digest] = (message.envelope.body[0]?.text() ?? '').split(' ');
  if (Number(index) !== expected) wrong(expected, `message ${index} came instead`);
  const copy = await (message.buffers[0] as (typeof message.buffers)[0]).resolve();
  if (sha256(copy.bytes) !== digest) wrong(expected, 'its bytes are not those that were sent');
  counts.bytes += copy.bytes.length;
  copy.release();
  tell({ received: expected, transport: message.connection.facts.transport });
  await message.reply({ action: `${NAMESPACE}:taken`, body: element(NAMESPACE, 'Taken', String(expected)) });
  message.release();
}

async function send({
  connect,
  messages,
  bufferBytes = BUFFER_BYTES,
  atOnce = AT_ONCE,
}: Send): Promise<void> {
  const connection = await manager.connect(connect, { allowInsecure });
  follow(connection);
  const free = Array.from({ length: atOnce }, () => manager.allocate(bufferBytes));
  const underWay = new Set<Promise<void>>();
  for (let index = 0; index < messages; index++) {
    if (free.length === 0) await Promise.race(underWay);
    const buffer = free.pop() as RegisteredBuffer;
    const asking = ask(connection, buffer, index)
      .catch((error: unknown) => {
        wrong(index, String(error));
      })
      .finally(() => {
        free.push(buffer);
        underWay.delete(asking);
      });
    underWay.add(asking);
  }
  await Promise.all(underWay);
  for (const buffer of free) buffer.release();
  await manager.close();
  done();
}

async function ask(connection: Connection, buffer: RegisteredBuffer, index: number): Promise<void> {
  randomFillSync(buffer.bytes);
  const body = element(NAMESPACE, 'Carry', `${index} ${sha256(buffer.bytes)}`);
  const reply = await connection.request(Envelope.of({ action: `${NAMESPACE}:carry`, body }), {
    buffers: [buffer],
  });
  reply.release();
  counts.messages++;
  counts.bytes += buffer.bytes.length;
  tell({ sent: index, transport: connection.facts.transport });
}

await (argument.role === 'receive' ? receive(argument) : send(argument));
