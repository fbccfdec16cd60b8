// Two managers of one process, connected by an address of this host, which trust each other or not: moves memory both ways and
// prints how often each side registered memory for it, once everything had been touched. Argument:
//   { "address": "HOST:PORT" or with a scheme, "listen": options of listen(), "connect": options of connect(), "times", "bytes" }
// Prints { transport, listener, dialer } and ends with 0 when every byte was right.
import {
  NetworkManager,
  type Connection,
  type ConnectOptions,
  type ListenOptions,
} from '../../../lib/index.js';

interface Argument {
  readonly address: string;
  readonly listen: ListenOptions;
  readonly connect: ConnectOptions;
  readonly times: number;
  readonly bytes: number;
}

const argument = JSON.parse(process.argv[2] ?? '{}') as Argument;
const { times, bytes } = argument;
const server = new NetworkManager();
const client = new NetworkManager();

const incoming = new Promise<Connection>((resolve) => {
  server.once('connection', resolve);
});
const { address } = await server.listen(argument.address, { allowInsecure: true, ...argument.listen });
const dialed = await client.connect(address, { allowInsecure: true, ...argument.connect });
const accepted = await incoming;
const { transport } = dialed.facts;

/** How often `owner` registers memory while its peer reads and writes it. */
async function registrations(owner: Connection, asker: Connection): Promise<number> {
  const [owning, asking] = owner === accepted ? [server, client] : [client, server];
  const memory = owning.allocate(bytes);
  const local = asking.allocate(bytes);
  const count = (): number => owning.stats.transports[transport]?.registrations ?? NaN;
  let before = NaN;
  for (let round = -1; round < times; round++) {
    if (round === 0) before = count();
    local.bytes.fill(round + 2);
    await asker.remote(owner.share(memory, { access: 'write' })).write(local, { checksum: false });
    if (!memory.bytes.equals(local.bytes)) throw new Error('what was written is not there');
    memory.bytes.fill(round + 102);
    await asker.remote(owner.share(memory)).resolve({ into: local, checksum: false });
    if (!local.bytes.equals(memory.bytes)) throw new Error('what was read is not what is there');
  }
  const made = count() - before;
  memory.release();
  local.release();
  return made;
}

const listener = await registrations(accepted, dialed);
const dialer = await registrations(dialed, accepted);
console.log(JSON.stringify({ transport, listener, dialer }));
await client.close();
await server.close();
