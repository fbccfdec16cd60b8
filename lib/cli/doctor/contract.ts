// What `doctor` asks of a serving process, as a contract. Data alone.
import {
  body,
  boolean,
  choice,
  contract,
  integer,
  list,
  optional,
  Query,
  record,
  text,
} from '../../runtime/index.js';
import { STATUSES } from './finding.js';

/** The name of the service that has it. */
export const DIAGNOSIS = 'diagnosis';

const count = integer(0, 1 << 20);

/** What one side tells the other of itself. */
export const ReportBody = body('DiagnoseResponse', {
  version: text(),
  transports: list(record({ name: text(), available: boolean(), reason: text() })),
  links: list(
    record({
      port: text(),
      netDevice: text(),
      netMtu: count,
      rdmaMtu: count,
      gids: count,
      addresses: list(text()),
    }),
  ),
  findings: list(
    record({
      id: text(),
      status: choice(...STATUSES),
      seen: text(),
      subject: optional(text()),
      advice: optional(text()),
      commands: list(text()),
    }),
  ),
});

export const Diagnosing = contract('urn:splitplane:diagnosis:1', {
  operations: { diagnose: Query(body('Diagnose', {}), ReportBody) },
});
