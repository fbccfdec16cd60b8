// What the page knows of the runtime: the last whole update, with the rates that follow from it and those before. Knows
// neither how updates arrive nor how they are shown.
import type { ConnectionSnapshot, MessagesSnapshot, ServiceSnapshot } from '../../snapshot.js';
import type { Begin, Part } from '../wire.js';
import { Meter, type Clock } from './meter.js';

/** A row of a table that stays the same object while what it stands for changes. */
export interface Entry<Row> {
  row: Row;
  /** In lower case, what a filter looks in. */
  text: string;
  /** It is in the runtime no more. */
  gone: boolean;
}

export interface ServiceEntry extends Entry<ServiceSnapshot> {
  readonly delivered: Meter;
  readonly refused: Meter;
  readonly faults: Meter;
}

export interface ConnectionEntry extends Entry<ConnectionSnapshot> {
  readonly sent: Meter;
  readonly received: Meter;
}

/** A port that is filled to this part is worth a look before it refuses messages. */
const NEARLY_FULL = 0.8;

/** What somebody should look at, as a sentence; undefined when there is nothing. */
export function trouble(entry: ServiceEntry): string | undefined {
  const { problem, state, port } = entry.row;
  if (problem !== undefined) return problem;
  if (state === 'failed') return 'It failed and did not say why.';
  if (port.depth >= port.depthMax && port.depthMax > 0) return 'Its queue is full: messages are refused.';
  if (entry.refused.rate > 0) return 'It refuses messages.';
  if (port.depth >= port.depthMax * NEARLY_FULL && port.depth > 0) return 'Its queue is nearly full.';
  return undefined;
}

export class Model {
  readonly clock: Clock = { turn: 0, seconds: 0 };
  readonly services = new Map<string, ServiceEntry>();
  readonly connections = new Map<number, ConnectionEntry>();
  #head: Begin | undefined;
  #totals: Record<keyof MessagesSnapshot, Meter> | undefined;
  /** The update that has begun. */
  #next: { head: Begin; parts: Part[] } | undefined;

  /** Everything but the lists; undefined before the first update. */
  get head(): Begin | undefined {
    return this.#head;
  }

  get totals(): Readonly<Record<keyof MessagesSnapshot, Meter>> | undefined {
    return this.#totals;
  }

  /** What has begun before and did not end is forgotten. */
  begin(head: Begin): void {
    this.#next = { head, parts: [] };
  }

  part(part: Part): void {
    this.#next?.parts.push(part);
  }

  /** Makes the update that began the one that is shown. */
  end(): void {
    if (this.#next === undefined) return;
    const { head, parts } = this.#next;
    this.#next = undefined;
    this.#tick(head);
    if (head.whole) this.#forgetMissing(parts);
    for (const part of parts) {
      part.services?.forEach((row) => this.#service(row));
      part.connections?.forEach((row) => this.#connection(row));
      part.servicesGone?.forEach((uri) => remove(this.services, uri));
      part.connectionsGone?.forEach((id) => remove(this.connections, id));
    }
  }

  #tick(head: Begin): void {
    const before = this.#head;
    // Another runtime, or the same one started again: what was counted before has nothing to do with it.
    const continues =
      before !== undefined && before.nodeId === head.nodeId && before.uptimeMs <= head.uptimeMs;
    if (!continues) {
      for (const uri of [...this.services.keys()]) remove(this.services, uri);
      for (const id of [...this.connections.keys()]) remove(this.connections, id);
      this.#totals = undefined;
    }
    this.clock.turn++;
    this.clock.seconds = continues ? (head.uptimeMs - before.uptimeMs) / 1000 : 0;
    this.#head = head;
    const { local, out, in: arrived, faults } = head.messages;
    if (this.#totals === undefined) {
      const meter = (count: number): Meter => new Meter(this.clock, count);
      this.#totals = { local: meter(local), out: meter(out), in: meter(arrived), faults: meter(faults) };
    } else {
      this.#totals.local.read(local);
      this.#totals.out.read(out);
      this.#totals.in.read(arrived);
      this.#totals.faults.read(faults);
    }
  }

  /** A whole update names everything that is there; what it does not name ended while nobody looked. */
  #forgetMissing(parts: readonly Part[]): void {
    const uris = new Set(parts.flatMap((part) => part.services ?? []).map((row) => row.uri));
    for (const uri of [...this.services.keys()]) if (!uris.has(uri)) remove(this.services, uri);
    const ids = new Set(parts.flatMap((part) => part.connections ?? []).map((row) => row.id));
    for (const id of [...this.connections.keys()]) if (!ids.has(id)) remove(this.connections, id);
  }

  #service(row: ServiceSnapshot): void {
    const { name, uri, contract, state, host, problem = '', port } = row;
    const text = [name, uri, contract, state, host, problem].join('\n').toLowerCase();
    const entry = this.services.get(uri);
    if (entry === undefined) {
      const meter = (count: number): Meter => new Meter(this.clock, count);
      const meters = {
        delivered: meter(port.delivered),
        refused: meter(port.refused),
        faults: meter(port.faults),
      };
      this.services.set(uri, { row, text, gone: false, ...meters });
      return;
    }
    Object.assign(entry, { row, text });
    entry.delivered.read(port.delivered);
    entry.refused.read(port.refused);
    entry.faults.read(port.faults);
  }

  #connection(row: ConnectionSnapshot): void {
    const { id, peer, principal, transport, encoding, state, sent, received } = row;
    const text = [peer, principal, transport, encoding, state].join('\n').toLowerCase();
    const entry = this.connections.get(id);
    if (entry === undefined) {
      const meter = (count: number): Meter => new Meter(this.clock, count);
      const meters = { sent: meter(sent.messages), received: meter(received.messages) };
      this.connections.set(id, { row, text, gone: false, ...meters });
      return;
    }
    Object.assign(entry, { row, text });
    entry.sent.read(sent.messages);
    entry.received.read(received.messages);
  }
}

function remove<Key, Row>(entries: Map<Key, Entry<Row>>, key: Key): void {
  const entry = entries.get(key);
  if (entry !== undefined) entry.gone = true;
  entries.delete(key);
}
