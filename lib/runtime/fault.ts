// How a service says no: a fault with one of DSSP's subcodes, thrown where the operation cannot be done. And what becomes of
// everything else that a handler throws. Knows nothing of messages.
import { SplitplaneError } from '../errors.js';
import { FaultError, MessageRefusedError, SoapFault, type DsspSubcode } from '../soap/fault.js';
import type { XmlElement } from '../soap/infoset.js';
import { errnoOf, Failure, failureDetail, subcodeOf } from './failure.js';

/** Thrown by a service's handler to answer with a fault. */
export class Fault extends SplitplaneError {
  readonly fault: SoapFault;

  /** `reason` is one English sentence that says what to do. */
  constructor(
    subcode: DsspSubcode,
    reason: string,
    detail: readonly XmlElement[] = [],
    options?: ErrorOptions,
  ) {
    super('FAULT', reason, options);
    this.fault = SoapFault.dssp(subcode, reason, detail);
  }
}

/**
 * The fault that answers a message whose handling ended with `error`. Faults are answered as they are. Errors of this project
 * show their text, and their code in a detail that failureOfFault reads; others become OperationFailed, and what they say stays
 * here, because it may be nobody's business.
 */
export function faultOf(error: unknown): SoapFault {
  if (error instanceof Fault || error instanceof MessageRefusedError) return error.fault;
  if (error instanceof FaultError) {
    const subcode = error.fault.subcodes.at(-1)?.localName ?? error.fault.code;
    return SoapFault.dssp(
      'OperationFailed',
      `A partner of the service answered ${subcode}: ${error.fault.reason}`,
    );
  }
  if (error instanceof SplitplaneError) {
    const errno = errnoOf(error);
    const subcode = subcodeOf(error, errno);
    // A sentence that was made for the asker stands by itself; of others, people are to see the code.
    const alone = error instanceof Failure || subcode !== 'OperationFailed';
    const reason = alone ? error.message : `${error.code}: ${error.message}`;
    return SoapFault.dssp(subcode, reason, [failureDetail(error, errno)]);
  }
  return SoapFault.dssp(
    'OperationFailed',
    'The service failed while it handled the message. Its log says how.',
  );
}
