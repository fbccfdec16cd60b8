// The message dispatcher: takes a message, checks that it is SOAP, reads its header and nothing else, and hands it to the port of
// a service here or to the network manager. Asks the security manager first. No message is lost without a fault or an
// error to who sent it.
import { refuseNotUnderstood } from '../soap/addressing.js';
import { Envelope } from '../soap/envelope.js';
import { MessageRefusedError, SoapFault } from '../soap/fault.js';
import { SplitplaneError, type ErrorCode } from '../errors.js';
import { giveBack } from './attached.js';
import type { Deadlines } from './deadlines.js';
import {
  LocalDelivery,
  NO_GIFTS,
  type Answer,
  type Delivery,
  type JudgeMemory,
  type Outgoing,
} from './delivery.js';
import { Fault } from './fault.js';
import { Port } from './port.js';
import { nodeIdOf, parseServiceUri } from './uri.js';
import type { UriManager, Registration } from './uri-manager.js';
import { verbOf, type Verb } from './verbs.js';

/** What the dispatcher asks of the security manager. */
export interface Judge {
  message(access: {
    readonly principal: string;
    readonly verb: Verb | undefined;
    readonly path: string;
    readonly contract: string | undefined;
  }): { readonly allowed: boolean; readonly reason: string };
  memory(access: {
    readonly principal: string;
    readonly path: string;
    readonly contract: string | undefined;
  }): { readonly allowed: boolean; readonly reason: string };
}

/** The way to other runtimes. */
export interface Network {
  /** In a thread or process of a service: the network manager of its runtime. */
  readonly parent: string | undefined;
  /** Whether there can be a way from here to where this points. */
  reaches(to: string): boolean;
  /** To wherever wsa:To points, or to the process with this network manager. The gifts are the network's from then on. */
  request(out: Outgoing, nodeId?: string): Promise<Answer>;
  /**
   * Passes a message on to the process with this network manager. `path` is the service's there, whose buffers the answer has,
   * if the message is one that it may get.
   */
  relay(delivery: Delivery, nodeId: string, path: string | undefined): void;
}

export interface MessageCounters {
  /** Requests between services of this runtime. */
  local: number;
  /** Requests that left. */
  out: number;
  /** Requests that came from other runtimes. */
  in: number;
  /** Requests that this dispatcher refused. */
  refused: number;
}

export class Dispatcher {
  readonly counters: MessageCounters = { local: 0, out: 0, in: 0, refused: 0 };
  readonly #uris: UriManager;
  readonly #judge: Judge;
  readonly #deadlines: Deadlines;
  readonly #judgeMemory: JudgeMemory;
  #network: Network | undefined;

  constructor(uris: UriManager, judge: Judge, deadlines: Deadlines) {
    this.#uris = uris;
    this.#judge = judge;
    this.#deadlines = deadlines;
    this.#judgeMemory = (principal, owner) => this.judgeMemory(principal, owner);
  }

  /** The network manager, where there is one. Without it messages stay among the services of this runtime. */
  set network(network: Network | undefined) {
    this.#network = network;
  }

  /**
   * Sends a request. Settles with the answer, which may be a fault; the caller releases it. A local message always has one,
   * by its deadline at the latest. Rejects with ABORTED, with INVALID_ARGUMENT for what is no SOAP message, and with what
   * NetworkManager.request rejects with. The buffers that go with it are gone from the caller in any case.
   */
  request(out: Outgoing): Promise<Answer> {
    try {
      this.#checkMessage(out);
    } catch (error) {
      giveBack(out.gifts);
      return Promise.reject(error);
    }
    const { to } = out.envelope;
    const registration = this.#uris.find(to) ?? this.#findOwn(to);
    if (registration === undefined) return this.#leave(out);
    const { target } = registration;
    return target instanceof Port
      ? this.#deliver(out, registration, target)
      : this.#hand(out, registration, target.nodeId);
  }

  /** A message of another runtime. Answered or refused in any case. */
  arrive(delivery: Delivery): void {
    this.counters.in++;
    const { envelope } = delivery;
    const elsewhere = this.#farther(delivery);
    if (elsewhere !== undefined) {
      this.#network?.relay(delivery, elsewhere, undefined);
      return;
    }
    // It came here, so it is meant for here, whatever its sender calls this host.
    const name = nameIn(envelope.to) ?? '';
    const registration = this.#uris.find(envelope.to) ?? this.#uris.named(name);
    // Rights come first: who may not ask is not told what there is.
    const fault = this.#judgeArrival(delivery, registration?.path ?? `/${name}`, registration);
    if (fault !== undefined || registration === undefined) {
      this.counters.refused++;
      delivery.refuse(fault ?? unknownService(envelope.to));
      delivery.release();
    } else if (registration.target instanceof Port) {
      registration.target.put(delivery);
    } else {
      this.#network?.relay(delivery, registration.target.nodeId, registration.path);
    }
  }

  /** The fault for a principal that may not have the buffers of a service: who may not Get it cannot resolve them. */
  judgeMemory(principal: string, owner: string): SoapFault | undefined {
    // Rules by contract hold for memory, too: without it a service denied by its contract would be open by its name.
    const contract = this.#uris.named(owner.slice(1))?.contract;
    const { allowed, reason } = this.#judge.memory({ principal, path: owner, contract });
    return allowed ? undefined : SoapFault.dssp('PermissionDenied', reason);
  }

  /** Steps 458 to 462. The type system knows; JavaScript callers do not. */
  #checkMessage({ envelope, gifts }: Outgoing): void {
    if (!((envelope as unknown) instanceof Envelope)) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        'A message is a SOAP envelope: make it with Envelope.of().',
      );
    }
    if (envelope.references.length !== gifts.length) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `The header lists ${envelope.references.length} references and ${gifts.length} buffers go with it. Give as many.`,
      );
    }
  }

  #findOwn(to: string): Registration | undefined {
    const name = this.#uris.ownName(to);
    return name === undefined ? undefined : this.#uris.named(name);
  }

  /** Steps 464 to 466: the port gets the message itself. */
  #deliver(out: Outgoing, registration: Registration, port: Port): Promise<Answer> {
    this.counters.local++;
    const { envelope, sender, gifts, signal } = out;
    const { principal, owner } = sender;
    let fault = this.#judgeMessage(principal, verbOf(envelope.action), registration.path, registration);
    if (fault === undefined && gifts.length > 0 && owner !== undefined) {
      fault = this.judgeMemory(registration.principal, owner);
    }
    if (fault === undefined && envelope.headers.length > 0) fault = notUnderstood(envelope);
    if (fault !== undefined) return this.#refuse(out, fault);
    if (signal?.aborted === true) {
      giveBack(gifts);
      const cause: unknown = signal.reason;
      return Promise.reject(
        new SplitplaneError('ABORTED', 'The request was canceled by its sender.', { cause }),
      );
    }
    return new Promise((resolve, reject) => {
      port.put(new LocalDelivery(out, this.#deadlines, this.#judgeMemory, resolve, reject));
    });
  }

  /** To a service of this runtime in a thread or process of its own, which takes this runtime's word for who may do what. */
  async #hand(out: Outgoing, registration: Registration, nodeId: string): Promise<Answer> {
    this.counters.local++;
    const { envelope, gifts, sender, deadlineAt, signal, oneWay } = out;
    const { principal } = sender;
    const { path } = registration;
    const fault = this.#judgeMessage(principal, verbOf(envelope.action), path, registration);
    if (fault !== undefined || this.#network === undefined)
      return await this.#refuse(out, fault ?? unknownService(envelope.to));
    try {
      const judged = { envelope, gifts, sender, deadlineAt, signal, oneWay, judged: true };
      const answer = await this.#network.request(judged, nodeId);
      const denied = answer.attached.length > 0 ? this.judgeMemory(principal, path) : undefined;
      if (denied === undefined) return answer;
      answer.release();
      return faultAnswer(envelope, denied);
    } catch (error) {
      // Whoever asks is not to know where the service lives; that its process is gone is the service's failure.
      if (!isLost(error)) throw error;
      return faultAnswer(envelope, SoapFault.dssp('OperationFailed', error.message));
    }
  }

  /** Step 468. */
  #leave(out: Outgoing): Promise<Answer> {
    const { to } = out.envelope;
    const network = this.#network;
    const own = this.#uris.ownName(to) !== undefined;
    // In the thread or process of a service, what else there is of its runtime is where the runtime is.
    const parent = own ? network?.parent : undefined;
    const here = parent === undefined && (own || nameIn(to) === undefined);
    if (here || network?.reaches(to) !== true) return this.#refuse(out, unknownService(to));
    this.counters.out++;
    return network.request(out, parent);
  }

  /**
   * Where a message of this runtime's own threads and processes goes that is for another one of them, or for a runtime that is
   * reached over a connection it opened.
   */
  #farther({ envelope, owner }: Delivery): string | undefined {
    if (owner === undefined) return undefined;
    const { authority = '', name = '' } = parseServiceUri(envelope.to) ?? {};
    const nodeId = this.#uris.isOwn(authority) ? undefined : nodeIdOf(authority);
    const target = this.#uris.named(name)?.target;
    // A service by the name of its process is judged like one by its own.
    return target === undefined || target instanceof Port || target.nodeId !== nodeId ? nodeId : undefined;
  }

  #judgeArrival(
    { principal, verb, attached, owner, judged }: Delivery,
    path: string,
    registration: Registration | undefined,
  ): SoapFault | undefined {
    if (!judged && this.#network?.parent !== undefined && registration?.internal !== true) {
      const reason = 'A service is reached through its runtime. Send to the URI that the runtime gives it.';
      return SoapFault.dssp('PermissionDenied', reason);
    }
    const fault = judged ? undefined : this.#judgeMessage(principal, verb, path, registration);
    if (fault !== undefined || registration === undefined) return fault;
    return attached.length > 0 && owner !== undefined
      ? this.judgeMemory(registration.principal, owner)
      : undefined;
  }

  #refuse({ envelope, gifts }: Outgoing, fault: SoapFault): Promise<Answer> {
    this.counters.refused++;
    giveBack(gifts);
    return Promise.resolve(faultAnswer(envelope, fault));
  }

  #judgeMessage(
    principal: string,
    verb: Verb | undefined,
    path: string,
    registration: Registration | undefined,
  ): SoapFault | undefined {
    // Ports of subscriptions and clients have names that nobody can guess, and are no services that a policy could name.
    if (registration?.internal === true) return undefined;
    const { allowed, reason } = this.#judge.message({
      principal,
      verb,
      path,
      contract: registration?.contract,
    });
    return allowed ? undefined : SoapFault.dssp('PermissionDenied', reason);
  }
}

/** The answer to a request that went nowhere. */
export function faultAnswer(request: Envelope, fault: SoapFault): Answer {
  return {
    envelope: request.replyFault(fault),
    attached: NO_GIFTS as readonly never[],
    release: () => undefined,
  };
}

function nameIn(uri: string): string | undefined {
  const slash = uri.startsWith('dos://') ? uri.indexOf('/', 6) : -1;
  return slash < 0 ? undefined : uri.slice(slash + 1);
}

function unknownService(uri: string): SoapFault {
  return new Fault('UnknownEntry', `There is no service at ${uri}. Ask the directory what runs there.`).fault;
}

/** Whether a request failed because there is nobody at the other end any more. */
function isLost(error: unknown): error is SplitplaneError {
  return error instanceof SplitplaneError && LOST.has(error.code);
}

const LOST: ReadonlySet<string> = new Set<ErrorCode>([
  'CONNECTION_LOST',
  'PEER_UNRESPONSIVE',
  'SESSION_EXPIRED',
  'CLOSED',
]);

function notUnderstood(envelope: Envelope): SoapFault | undefined {
  try {
    refuseNotUnderstood(envelope.headers, () => false);
    return undefined;
  } catch (error) {
    if (error instanceof MessageRefusedError) return error.fault;
    throw error;
  }
}
