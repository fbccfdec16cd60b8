// The verbs of DSSP 1.0 and how a message names one: in its wsa:Action. Knows nothing of what a service makes of them.
import { DSSP } from '../soap/namespaces.js';

/** DSSP 1.0's verbs. */
export const VERBS = [
  'Create', // Make a service.
  'Lookup', // Say what the service is.
  'Get', // The service's state, whole.
  'Query', // A part of it.
  'Insert', // Add what is not there: DuplicateEntry.
  'Update', // Change what is there: UnknownEntry.
  'Upsert', // Add it, or change it.
  'Replace', // Put another state in place of the whole.
  'Delete', // Remove what is there: UnknownEntry.
  'Submit', // Do something that has no lasting effect on the state.
  'Subscribe', // Tell me when the state changes.
  'Notify', // It has changed.
  'Drop', // End the service, or a subscription.
] as const;
export type Verb = (typeof VERBS)[number];

/** The verbs that leave the state as it is: a service may handle several of them at once. */
const READING: ReadonlySet<Verb> = new Set<Verb>(['Lookup', 'Get', 'Query']);

const REQUEST = 'Request';
const RESPONSE = 'Response';
const requestActions = new Map(VERBS.map((verb) => [`${DSSP}:${verb}${REQUEST}`, verb]));
const requestAction = Object.fromEntries(
  VERBS.map((verb) => [verb, `${DSSP}:${verb}${REQUEST}`]),
) as Readonly<Record<Verb, string>>;
const responseAction = Object.fromEntries(
  VERBS.map((verb) => [verb, `${DSSP}:${verb}${RESPONSE}`]),
) as Readonly<Record<Verb, string>>;

/** The wsa:Action of a request. */
export function requestActionOf(verb: Verb): string {
  return requestAction[verb];
}

/** The wsa:Action of the answer to it. */
export function responseActionOf(verb: Verb): string {
  return responseAction[verb];
}

/** The verb that a wsa:Action asks for; undefined when it is no request of DSSP's. */
export function verbOf(action: string): Verb | undefined {
  return requestActions.get(action);
}

/** Whether a verb only reads. */
export function onlyReads(verb: Verb): boolean {
  return READING.has(verb);
}
