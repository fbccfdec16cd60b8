// A diagnosis of this host: gathers the facts, puts every check to them, and answers the other side when it asks for the same.
import type { TransportFacts } from '../../dataplane/native.js';
import { version } from '../../runtime/version.js';
import type { Answer, Handlers } from '../service.js';
import { checkDevices } from './check-devices.js';
import { checkAccess, checkSoftware } from './check-software.js';
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
export class DiagnosisService {
  #running: Promise<Answer> | undefined;

  get handlers(): Handlers {
    return {
      // Whoever asks while one is made gets the same: asking often costs no more than one at a time.
      Diagnose: ({ manager }) => {
        this.#running ??= this.#answer(manager.transports).finally(() => {
          this.#running = undefined;
        });
        return this.#running;
      },
    };
  }

  async #answer(transports: readonly TransportFacts[]): Promise<Answer> {
    const { facts, findings } = await diagnose(transports);
    return writeReport(reportOf(facts, findings));
  }
}
