// A peer in a process of its own. Listens where it is told, answers messages by their action, and does what its parent
// tells it over the channel. Argument: { listen?, options?, allowInsecure? }.
//   urn:echo    answers with the same body
//   urn:sum     resolves every buffer and answers with their CRC32C
//   urn:give    answers with a buffer of as many bytes as the body says, each byte 0x42
//   urn:keep    keeps the message
// Tells: { listening, nodeId }, { opened }, { interrupted }, { resumed }, { closed: code }, { taken: value of each message }.
import type { Connection } from '../../../lib/index.js';
import {
  crc32c,
  element,
  Envelope,
  NetworkManager,
  SplitplaneError,
  type ConnectOptions,
  type Message,
  type NetworkManagerOptions,
} from '../../../lib/index.js';

interface Argument {
  readonly listen?: string;
  readonly options?: NetworkManagerOptions;
  readonly allowInsecure?: boolean;
}

interface Command {
  readonly connect?: string;
  readonly options?: ConnectOptions;
  /** Sends this many messages on the newest connection, each with a number. */
  readonly send?: number;
  /** Asks for this many bytes from the peer of the newest connection, and resolves them. */
  readonly pull?: number;
  /** Resolves the first buffer of the oldest message kept: over its connection, or as a stolen tag over the newest one. */
  readonly resolveKept?: 'own' | 'newest';
  readonly stats?: boolean;
  readonly close?: boolean;
}

const { listen, options = {}, allowInsecure = false } = JSON.parse(process.argv[2] ?? '{}') as Argument;
const manager = new NetworkManager(options);
const kept: Message[] = [];
let newest: Connection | undefined;

function tell(message: Record<string, unknown>): void {
  process.send?.(message);
}

function codeOf(error: unknown): string {
  return error instanceof SplitplaneError ? error.code : String(error);
}

function follow(connection: Connection): void {
  newest = connection;
  tell({ opened: connection.peer.nodeId });
  connection.on('interrupted', (why) => tell({ interrupted: why.code }));
  connection.on('resumed', () => tell({ resumed: true }));
  connection.on('close', (why) => tell({ closed: why.code }));
}

async function answer(message: Message): Promise<void> {
  const { action, body } = message.envelope;
  const value = body[0]?.text() ?? '';
  switch (action) {
    case 'urn:echo':
      await message.reply({ action, body });
      break;
    case 'urn:sum': {
      const copies = await Promise.all(message.buffers.map((buffer) => buffer.resolve()));
      const sums = copies.map((copy) => crc32c(copy.bytes)).join(' ');
      for (const copy of copies) copy.release();
      await message.reply({ action, body: element('', 'Sums', sums) });
      break;
    }
    case 'urn:give': {
      const buffer = manager.allocate(Number(value));
      buffer.bytes.fill(0x42);
      await message.reply({ action }, { buffers: [{ buffer, uses: 64 }] });
      buffer.release();
      break;
    }
    case 'urn:keep':
      kept.push(message);
      tell({ taken: value });
      return;
    default:
      tell({ taken: value });
  }
  message.release();
}

async function serve(): Promise<void> {
  for await (const message of manager.messages) {
    answer(message).catch((error: unknown) => tell({ unanswered: codeOf(error) }));
  }
}

async function pull(connection: Connection, bytes: number): Promise<void> {
  const request = Envelope.of({ action: 'urn:give', body: element('', 'Bytes', String(bytes)) });
  const reply = await connection.request(request);
  const copy = await reply.buffers[0]?.resolve();
  const whole = copy?.bytes.every((byte) => byte === 0x42) === true && copy.length === bytes;
  copy?.release();
  reply.release();
  tell({ pulled: whole ? bytes : -1 });
}

async function resolveKept(over: 'own' | 'newest'): Promise<void> {
  const remote = kept[0]?.buffers[0];
  if (remote?.tag === undefined || newest === undefined) throw new Error('Nothing was kept.');
  const { tag, length, access } = remote;
  tell({ resolving: length });
  const copy = await (over === 'own' ? remote : newest.remote({ tag, length, access })).resolve();
  copy.release();
  tell({ resolved: length });
}

async function obey(command: Command): Promise<void> {
  if (command.connect !== undefined) follow(await manager.connect(command.connect, command.options));
  if (command.send !== undefined && newest !== undefined) {
    for (let i = 0; i < command.send; i++) {
      await newest.send(Envelope.of({ action: 'urn:tell', body: element('', 'N', String(i)) }));
    }
    tell({ sent: command.send });
  }
  if (command.pull !== undefined && newest !== undefined) await pull(newest, command.pull);
  if (command.resolveKept !== undefined) await resolveKept(command.resolveKept);
  if (command.stats === true) tell({ stats: manager.stats, rss: process.memoryUsage.rss() });
  if (command.close === true) {
    await manager.close();
    process.disconnect();
  }
}

manager.on('connection', follow);
manager.on('refused', (why) => tell({ refused: why.code }));
process.on('message', (command: Command) => {
  obey(command).catch((error: unknown) => tell({ failed: codeOf(error) }));
});
void serve();
if (listen !== undefined) {
  const { address } = await manager.listen(listen, { allowInsecure });
  tell({ listening: address, nodeId: manager.nodeId });
} else {
  tell({ ready: true, nodeId: manager.nodeId });
}
