// What `doctor HOST` tries: to resolve, route to, reach and greet the host, to hear its own diagnosis, and to move data over
// RDMA. One step after another, each of which is skipped when one before it failed. What the two sides make together is
// judged in between.ts.
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP, connect as connectSocket } from 'node:net';
import { DEFAULT_PORT, formatAddress, parseAddress, type Address } from '../../network/address.js';
import { asked, Client } from '../client.js';
import { errnoOf } from '../../runtime/failure.js';
import { printableLine } from '../../runtime/printable.js';
import { describe } from '../failure.js';
import type { ConnectingOptions } from '../options.js';
import { touched } from '../perf/server.js';
import { ping } from '../perf/traffic.js';
import { formatSize } from '../terminal.js';
import { compareLinks, compareVersions, linkOf, type Way } from './between.js';
import { portsOf } from './check-devices.js';
import { Diagnosing, DIAGNOSIS } from './contract.js';
import { gidOf } from './devices.js';
import type { Diagnosis } from './diagnosis.js';
import { ok, problem, skipped, warning, type Finding } from './finding.js';
import { readReport, reportOf, type Link, type Report } from './report.js';

/** How long one step may take. */
const STEP_MS = 10_000;
/** How long the other side may take to look at itself. */
const REPORT_MS = 30_000;
/** Sent to the host and back over RDMA: more than fits one packet of any size. */
const ECHO_BYTES = 1 << 20;

const where = 'between';
/** What is tried, in this order. */
const STEPS = [
  'name',
  'route',
  'reachable',
  'control-plane',
  'other-side',
  'versions',
  'mtu-match',
  'data-plane',
  'choice',
];

export type HostOptions = Pick<ConnectingOptions, 'poll' | 'allowInsecure'>;

/** Findings about the way to `host`, and those that it has of itself. Rejects only when the signal aborts. */
export async function examineHost(
  host: string,
  options: HostOptions,
  here: Diagnosis,
  signal: AbortSignal,
): Promise<Finding[]> {
  const found = await new Examination(host, options, here, signal).run();
  const reached = new Set(found.filter(({ where }) => where === 'between').map(({ id }) => id));
  const rest = STEPS.filter((id) => !reached.has(id));
  return [...found, ...rest.map((id) => skipped(id, 'needs what failed above', { where }))];
}

class Examination {
  readonly #host: string;
  readonly #address: Address;
  readonly #options: HostOptions;
  readonly #here: Diagnosis;
  readonly #signal: AbortSignal;
  readonly #found: Finding[] = [];

  constructor(host: string, options: HostOptions, here: Diagnosis, signal: AbortSignal) {
    this.#host = host;
    this.#address = parseAddress(host);
    this.#options = options;
    this.#here = here;
    this.#signal = signal;
  }

  async run(): Promise<Finding[]> {
    const { path } = this.#address;
    if (path !== undefined) {
      const why = 'a unix socket reaches this host and no other';
      for (const id of ['name', 'route', 'reachable', 'mtu-match', 'data-plane', 'choice'])
        this.#add(skipped(id, why, { where }));
      await this.#greet(this.#host, undefined);
      return this.#found;
    }
    const ip = await this.#resolve();
    if (ip === undefined) return this.#found;
    const way = await this.#route(ip);
    if (way === undefined) return this.#found;
    // Over TCP unless the address asks for something else: RDMA is what is being examined.
    const transport = this.#address.transport === 'auto' ? 'tcp' : this.#address.transport;
    if (transport !== 'tcp')
      this.#add(skipped('reachable', `the address asks for ${transport}, not TCP`, { where }));
    else if (!(await this.#reach(ip))) return this.#found;
    await this.#greet(`${transport}://${this.#authority}`, way);
    return this.#found;
  }

  /** What breaks stays broken: coming back would hide what is looked for. */
  async #connect(address: string): Promise<Client> {
    const { poll, allowInsecure } = this.#options;
    const limits = { connectTimeoutMs: STEP_MS, resumeMs: 0 };
    return await Client.dial(address, { poll, allowInsecure }, limits, this.#signal);
  }

  #add(finding: Finding): void {
    this.#found.push(finding);
  }

  /** HOST:PORT without a transport. */
  get #authority(): string {
    const { host = '', port } = this.#address;
    return `${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  async #resolve(): Promise<string | undefined> {
    const { host = '' } = this.#address;
    const [bare = ''] = host.split('%');
    if (isIP(bare) !== 0) {
      this.#add(ok('name', `${host} is an address`, { where }));
      return host;
    }
    try {
      const addresses = (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address);
      const [first] = addresses;
      const others = addresses.length > 1 ? '; the first one is used' : '';
      this.#add(ok('name', `${host} is ${addresses.join(', ')}${others}`, { where }));
      return first;
    } catch (error) {
      this.#add(
        problem('name', `${host} cannot be resolved (${errnoOf(error) ?? 'no answer'})`, {
          where,
          advice: 'Check the spelling, or write the address itself. What the system answers:',
          commands: [`getent hosts ${host}`],
        }),
      );
      return undefined;
    }
  }

  /** Asks the system which of its addresses it would send from. Nothing is sent for that. */
  async #route(ip: string): Promise<Way | undefined> {
    const { facts } = this.#here;
    const way = { host: this.#host, address: ip };
    let source: string;
    try {
      source = await sourceAddressTo(ip);
    } catch (error) {
      this.#add(
        problem('route', `there is no way to ${ip} (${errnoOf(error) ?? said(error)})`, {
          where,
          advice: 'Give this host an address in the same network, or a route.',
          commands: [`ip route get ${ip}`],
        }),
      );
      return undefined;
    }
    const gid = gidOf(source);
    const net = facts.netDevices.find(({ addresses }) =>
      addresses.some(({ address }) => gidOf(address) === gid),
    );
    const netDevice = net?.name;
    const by = `${ip} is reached from ${source}${netDevice === undefined ? '' : ` by ${netDevice}`}`;
    const ports = portsOf(facts).filter(({ port }) => port.linkLayer === 'Ethernet');
    const here = ports.find((port) => port.net?.name === netDevice);
    if (here !== undefined) this.#add(ok('route', `${by}, which carries ${here.name}`, { where }));
    else if (ports.length === 0 || net?.loopback === true || net === undefined)
      this.#add(ok('route', by, { where }));
    else {
      const others = ports
        .map(({ name, port }) => `${name} on ${port.netDevice ?? 'no network device'}`)
        .join(', ');
      this.#add(
        problem('route', `${by}, which carries no RDMA device (${others})`, {
          where,
          advice:
            'Use the address that the host has in the network of the RDMA device, correct the route, or, for soft-RoCE:',
          commands: [`rdma link add rxe_${net.name} type rxe netdev ${net.name}`],
        }),
      );
    }
    return { ...way, netDevice };
  }

  /** Whether anything at all accepts TCP there: what is wrong is then told from what is not splitplane. */
  async #reach(ip: string): Promise<boolean> {
    const { port } = this.#address;
    try {
      await probe(ip, port, this.#signal);
      this.#add(ok('reachable', `${ip} accepts TCP on port ${port}`, { where }));
      return true;
    } catch (error) {
      this.#signal.throwIfAborted();
      const code = errnoOf(error);
      if (code === 'ECONNREFUSED') {
        const listen = ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
        this.#add(
          problem('reachable', `nobody listens on TCP port ${port} of ${ip}`, {
            where,
            advice: `Start it there, on an address that this host can reach. Without a port, ${DEFAULT_PORT} is meant.`,
            commands: [
              `splitplane serve --listen ${listen}${/^127\.|^::1$/.test(ip) ? '' : ' --allow-insecure'}`,
            ],
          }),
        );
      } else {
        this.#add(
          problem('reachable', `${ip} does not answer on TCP port ${port} (${code ?? 'no answer in time'})`, {
            where,
            advice: `Check that the host is up, and that the filters of both and on the way let TCP port ${port} through.`,
            commands: [`ping -c 3 ${ip}`],
          }),
        );
      }
      return false;
    }
  }

  async #greet(address: string, way: Way | undefined): Promise<void> {
    try {
      using client = await this.#connect(address);
      const { peer, facts } = client.connection;
      this.#add(
        ok(
          'control-plane',
          `${printableLine(peer.identity)} answers, node ${peer.nodeId.slice(0, 8)}, ${facts.encoding}`,
          { where },
        ),
      );
      const there = await this.#askForReport(client);
      if (there !== undefined) await this.#together(there, way);
      await client.close();
    } catch (error) {
      this.#signal.throwIfAborted();
      this.#add(refusal(error, this.#host));
    }
  }

  async #askForReport(client: Client): Promise<Report | undefined> {
    try {
      const diagnosing = client.proxy(Diagnosing, DIAGNOSIS);
      const answer = diagnosing.diagnose({}, { signal: this.#signal, timeoutMs: REPORT_MS });
      const report = readReport(await asked(answer));
      const bad = report.findings.filter(({ status }) => status === 'problem' || status === 'warning');
      const seen =
        bad.length === 0 ? 'has nothing to complain of' : 'has told what is wrong there, see below';
      this.#add(ok('other-side', `splitplane ${report.version}, ${seen}`, { where }));
      this.#found.push(...report.findings);
      return report;
    } catch (error) {
      this.#signal.throwIfAborted();
      this.#add(
        warning('other-side', `does not say what it finds at its end: ${said(error)}`, {
          where,
          advice: 'Run doctor there by hand. A `splitplane serve` of this version answers.',
          commands: ['splitplane doctor'],
        }),
      );
      return undefined;
    }
  }

  async #together(there: Report, way: Way | undefined): Promise<void> {
    const { facts, findings } = this.#here;
    const here = reportOf(facts, findings);
    this.#add(compareVersions(here, there, this.#host));
    if (way === undefined) return;
    this.#found.push(...compareLinks(here, there, way));
    const sides = [
      ['here', here],
      [`at ${this.#host}`, there],
    ] as const;
    for (const [side, { transports }] of sides) {
      const rdma = transports.find(({ name }) => name === 'rdma');
      if (rdma?.available === true) continue;
      const why = `RDMA cannot be used ${side}: ${rdma?.reason ?? 'that build does not know it'}`;
      this.#add(skipped('data-plane', why, { where }));
      await this.#choose(why);
      return;
    }
    const moved = await this.#move(linkOf(here, way), way.address);
    await this.#choose(moved ? undefined : 'RDMA was tried and does not work (data-plane)');
  }

  /** A connection over RDMA, and enough over it to fill packets. */
  async #move(link: Link | undefined, ip: string): Promise<boolean> {
    const late = AbortSignal.timeout(2 * STEP_MS);
    const signal = AbortSignal.any([this.#signal, late]);
    let connected = false;
    try {
      using client = await this.#connect(`rdma://${this.#authority}`);
      connected = true;
      using payload = touched(client.connection, ECHO_BYTES);
      await ping(client, payload, 'ping', signal);
      const packets = link === undefined ? '' : `, in packets of up to ${link.rdmaMtu}`;
      this.#add(ok('data-plane', `${formatSize(ECHO_BYTES)} there and back over RDMA${packets}`, { where }));
      await client.close();
      return true;
    } catch (error) {
      this.#signal.throwIfAborted();
      const message = late.aborted ? 'no answer in time' : said(error);
      this.#add(connected ? stuck(message, ip, link?.netMtu) : unconnected(message, this.#authority));
      return false;
    }
  }

  /** Which transport a connection without further words gets. */
  async #choose(whyNot: string | undefined): Promise<void> {
    const id = 'choice';
    try {
      using client = await this.#connect(this.#host);
      const { transport, remoteAddress, passedOver } = client.connection.facts;
      const told = passedOver.find((one) => one.transport === 'rdma')?.reason;
      const reason = whyNot ?? (told === undefined ? `${transport} was chosen` : printableLine(told));
      const seen = `a connection to ${this.#host} goes over ${formatAddress(transport, remoteAddress)}`;
      if (transport === 'rdma' && whyNot !== undefined) {
        this.#add(
          warning(id, `${seen}, although ${whyNot}`, {
            where,
            advice: `Until that is put right, ask for TCP: tcp://${this.#authority}.`,
          }),
        );
      } else if (transport === 'rdma') this.#add(ok(id, seen, { where }));
      else if (this.#address.transport !== 'auto')
        this.#add(ok(id, `${seen}, as the address asks`, { where }));
      else {
        this.#add(
          warning(id, `${seen}, not over RDMA: ${reason}`, {
            where,
            advice:
              'Everything works that way, at the cost of processor time. Do what the findings above say to have RDMA.',
          }),
        );
      }
      await client.close();
    } catch (error) {
      this.#signal.throwIfAborted();
      this.#add(
        problem(id, `a connection to ${this.#host} fails: ${said(error)}`, {
          where,
          advice: `Name the transport that works: tcp://${this.#authority}.`,
        }),
      );
    }
  }
}

/** What a failed greeting means: something accepted the connection. */
function refusal(error: unknown, host: string): Finding {
  const id = 'control-plane';
  const { code } = describe(error);
  const message = said(error);
  switch (code) {
    case 'INSECURE_TRANSPORT':
      return problem(id, `not tried: ${message}`, {
        where,
        advice: 'In a network that you trust, on both sides:',
        commands: [`splitplane doctor ${host} --allow-insecure`],
      });
    case 'CONNECT_TIMEOUT':
    case 'PROTOCOL_VIOLATION':
    case 'CONNECTION_LOST':
      return problem(
        id,
        `something accepts connections there and does not answer as splitplane does: ${message}`,
        {
          where,
          advice:
            'Another program listens on this port: correct the port, or end that program. On that host:',
          commands: ['ss --listening --tcp --processes'],
        },
      );
    default:
      return problem(id, message, { where, advice: 'Do what the sentence says, then run doctor again.' });
  }
}

function unconnected(message: string, authority: string): Finding {
  return problem('data-plane', `no connection over RDMA: ${message}`, {
    where,
    advice:
      'If both sides are fine by themselves, packets are lost on the way: UDP port 4791 has to pass every filter, and the ' +
      'other side has to listen over RDMA, which it does when RDMA could be used there as it was started. On that host:',
    commands: [`splitplane serve --listen ${authority} --allow-insecure`],
  });
}

function stuck(message: string, ip: string, netMtu: number | undefined): Finding {
  // What ping sends is longer by the headers of IP and ICMP.
  const headerBytes = ip.includes(':') ? 48 : 28;
  return problem(
    'data-plane',
    `connected over RDMA, but ${formatSize(ECHO_BYTES)} do not get through: ${message}`,
    {
      where,
      advice:
        'Long packets are lost: the MTU of both sides must be the same, and every switch on the way must allow it.',
      commands: netMtu === undefined ? [] : [`ping -c 3 -M do -s ${netMtu - headerBytes} ${ip}`],
    },
  );
}

/** The sentence of an error, in which there may be words of the peer. */
function said(error: unknown): string {
  return printableLine(describe(error).message);
}

/** The address that the system sends from to `ip`. Rejects with ENETUNREACH and its like. */
function sourceAddressTo(ip: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4');
    socket.once('error', (error) => {
      socket.close();
      reject(error);
    });
    socket.once('connect', () => {
      const { address } = socket.address();
      socket.close();
      resolve(address);
    });
    // Any port does: connecting a UDP socket only chooses the way.
    socket.connect(DEFAULT_PORT, ip);
  });
}

/** Settles when TCP is accepted at the address. */
function probe(ip: string, port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ host: ip, port, timeout: STEP_MS, signal });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('timeout', () => {
      socket.destroy(new Error('no answer in time'));
    });
    socket.once('error', reject);
  });
}
