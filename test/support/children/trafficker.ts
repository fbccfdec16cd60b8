// A peer that does one thing without end, and waits to be killed. Argument: { what, listen or connect, options }; `what` is
// "connecting" or what traffic.ts knows. Ends with 1 when something came that nobody sent. Tells: { listening },
// { passedOver }.
import {
  NetworkManager,
  SplitplaneError,
  type Connection,
  type NetworkManagerOptions,
} from '../../../lib/index.js';
import { connect, receive, send, type Traffic, type Witness } from './traffic.js';

interface Argument {
  readonly what: Traffic | 'connecting';
  readonly listen?: string;
  readonly connect?: string;
  readonly options: NetworkManagerOptions;
}

const argument = JSON.parse(process.argv[2] ?? '{}') as Argument;
const { what } = argument;
const manager = new NetworkManager(argument.options);
const witness: Witness = {
  done: () => undefined,
  failed: (error) => {
    if (error instanceof SplitplaneError) return;
    console.error(error);
    process.exit(1);
  },
};

function carry(connection: Connection): void {
  if (what !== 'connecting') void send(what, manager, connection, witness);
}

process.on('disconnect', () => process.exit());
if (what !== 'connecting') receive(what, manager, witness);
if (argument.listen !== undefined) {
  manager.on('connection', carry);
  process.send?.({ listening: (await manager.listen(argument.listen)).address });
} else if (argument.connect !== undefined) {
  if (what === 'connecting') void connect(manager, argument.connect, witness);
  else {
    const connection = await manager.connect(argument.connect);
    process.send?.({ passedOver: connection.facts.passedOver });
    carry(connection);
  }
}
