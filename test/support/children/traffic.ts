// What two processes do with each other without end, until one of them is killed. Both run this, so that either is doing all
// of it when it dies. Whatever comes is looked at whole: it has one pattern, and nothing else may be delivered.
import { element, Envelope } from '../../../lib/index.js';
import type { Connection, Message, NetworkManager, RegisteredBuffer, Sent } from '../../../lib/index.js';

/** `ring transfers` are of memory that is not lent; `views` and `copies` look at lent memory where it is. */
export const TRAFFIC = ['messages', 'batches', 'ring transfers', 'views', 'copies', 'writes'] as const;
export type Traffic = (typeof TRAFFIC)[number];

export interface Witness {
  /** Something came whole, or was taken by the other side. */
  done(): void;
  /** Something ended otherwise: with a word from the library, or with bytes that nobody sent. */
  failed(error: unknown): void;
  /** Whether a view that came is kept, by whoever is asked. */
  keeps?(view: RegisteredBuffer): boolean;
}

/** One that is copied within a round, several, and one that takes a while. */
export const SIZES = [10_000, 300_000, 2 << 20];
const LANES = SIZES.length;
const BURST = 20;
const PATTERN = Buffer.alloc(Math.max(...SIZES), 0x42);

export function isWhole({ bytes }: RegisteredBuffer): boolean {
  return PATTERN.subarray(0, bytes.length).equals(bytes);
}

async function endlessly(witness: Witness, step: () => Promise<unknown>): Promise<void> {
  try {
    for (;;) {
      await step();
      witness.done();
    }
  } catch (error) {
    witness.failed(error);
  }
}

function fill(buffer: RegisteredBuffer): RegisteredBuffer {
  buffer.bytes.fill(0x42);
  return buffer;
}

/** The same to be done, over and over, for the lane with this number. */
function stepOf(
  traffic: Traffic,
  manager: NetworkManager,
  connection: Connection,
  lane: number,
): () => Promise<unknown> {
  const send = (text = '', buffers: readonly RegisteredBuffer[] = []): Promise<Sent> =>
    connection.send(Envelope.of({ action: 'urn:traffic', body: element('', 'Text', text) }), { buffers });
  const size = SIZES[lane] as number;
  switch (traffic) {
    case 'messages':
      return async () => {
        const outcomes = await Promise.allSettled(Array.from({ length: BURST }, () => send()));
        for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
      };
    case 'batches':
      return () => connection.sendBatch(Array.from({ length: BURST }, () => PATTERN.subarray(0, 100)));
    case 'writes':
      return async () => {
        const target = manager.allocate(size);
        try {
          await send(`${connection.share(target, { access: 'write' }).tag} ${size}`);
          throw await connection.closed;
        } finally {
          target.release();
        }
      };
    default:
      return async () => {
        const buffer = fill(
          traffic === 'ring transfers' ? manager.allocate(size) : connection.allocate(size),
        );
        try {
          const { released } = await send('', [buffer]);
          await released;
        } finally {
          buffer.release();
        }
      };
  }
}

/** Sends until the connection ends. Settles when everything that was begun has ended. */
export async function send(
  traffic: Traffic,
  manager: NetworkManager,
  connection: Connection,
  witness: Witness,
): Promise<void> {
  const lanes = Array.from({ length: LANES }, (_, lane) => stepOf(traffic, manager, connection, lane));
  await Promise.all(lanes.map((step) => endlessly(witness, step)));
}

async function takeBuffer(
  traffic: Traffic,
  manager: NetworkManager,
  message: Message,
  witness: Witness,
): Promise<void> {
  const [remote] = message.buffers;
  if (remote === undefined) return;
  if (traffic === 'copies') {
    const into = manager.allocate(remote.length);
    try {
      await remote.resolve({ into });
      if (!isWhole(into)) throw new Error('Bytes came that nobody sent.');
    } finally {
      into.release();
    }
    return;
  }
  const buffer = await remote.resolve();
  if (!isWhole(buffer)) throw new Error('Bytes came that nobody sent.');
  if (traffic !== 'views' || witness.keeps?.(buffer) !== true) buffer.release();
}

async function takeMessage(
  traffic: Traffic,
  manager: NetworkManager,
  message: Message,
  witness: Witness,
): Promise<void> {
  const { connection, envelope } = message;
  if (traffic === 'writes') {
    const [tag, length] = (envelope.body[0]?.text() ?? '').split(' ');
    message.release();
    const source = fill(manager.allocate(Number(length)));
    const target = connection.remote({ tag: tag as string, length: Number(length), access: 'write' });
    await endlessly(witness, () => target.write(source));
    source.release();
    return;
  }
  try {
    await takeBuffer(traffic, manager, message, witness);
    witness.done();
  } catch (error) {
    witness.failed(error);
  } finally {
    message.release();
  }
}

/** Takes what comes to a manager as long as that lives. */
export function receive(traffic: Traffic, manager: NetworkManager, witness: Witness): void {
  const messages = async (): Promise<void> => {
    for await (const message of manager.messages) void takeMessage(traffic, manager, message, witness);
  };
  const batches = async (): Promise<void> => {
    for await (const batch of manager.batches) {
      if (![...batch].every((message) => PATTERN.subarray(0, 100).equals(message))) {
        witness.failed(new Error('Bytes came that nobody sent.'));
      }
      witness.done();
    }
  };
  void messages();
  void batches();
}

/** Connects and hangs up until nobody answers. */
export async function connect(manager: NetworkManager, address: string, witness: Witness): Promise<void> {
  const step = async (): Promise<void> => (await manager.connect(address)).destroy();
  await Promise.all(Array.from({ length: LANES }, () => endlessly(witness, step)));
}
