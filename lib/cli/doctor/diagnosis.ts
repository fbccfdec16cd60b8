// A diagnosis of this host: gathers the facts, puts every check to them, and answers the other side when it asks for the same.
import type { TransportFacts } from '../../dataplane/native.js';
import { version } from '../../runtime/version.js';
import type { NetworkManager } from '../../network/manager.js';
import { Service, type Handlers, type Sending } from '../../runtime/index.js';
import type { RequestLog } from '../request-log.js';
import { checkDevices } from './check-devices.js';
import { checkAccess, checkSoftware } from './check-software.js';
import { Diagnosing, type ReportBody } from './contract.js';
import { gatherFacts, type Facts } from './facts.js';
import type { Finding } from './finding.js';
import { Machine } from './machine.js';
import { reportOf, writeReport } from './report.js';

export interface Diagnosis {
  readonly facts: Facts;
  readonly findings: readonly Finding[];
}

export async function diagnose(
  transports: readonly TransportFacts[],
  machine = new Machine(),
): Promise<Diagnosis> {
  const facts = await gatherFacts(machine, version, transports);
  return { facts, findings: examine(facts) };
}

/** Everything that can be said of one host by itself. */
export function examine(facts: Facts): Finding[] {
  return [...checkSoftware(facts), ...checkDevices(facts), ...checkAccess(facts)];
}

/** The serving side of `doctor HOST`. */
export class DiagnosisService extends Service<typeof Diagnosing> {
  readonly contract = Diagnosing;
  readonly handlers: Handlers<typeof Diagnosing>;
  readonly #manager: NetworkManager;
  #running: Promise<Sending<typeof ReportBody>> | undefined;

  constructor(manager: NetworkManager, log: RequestLog) {
    super();
    this.#manager = manager;
    this.handlers = {
      diagnose: log.logged(
        'Diagnose',
        () => this.#diagnose(),
        () => ({}),
      ),
    };
  }

  /** Whoever asks while one is made gets the same: asking often costs no more than one at a time. */
  #diagnose(): Promise<Sending<typeof ReportBody>> {
    this.#running ??= diagnose(this.#manager.transports)
      .then(({ facts, findings }) => writeReport(reportOf(facts, findings)))
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }
}
