// Whom a message is from, as a runtime tells it to the threads and processes in which services of its live: a header block. It is
// believed from the runtime that a process belongs to, and from nobody else; what others send of the kind is taken out.
import { ORIGIN } from '../soap/namespaces.js';
import { element, type XmlElement } from '../soap/infoset.js';

export interface Origin {
  /** Who sent it, as the runtime's security manager knows him. */
  readonly principal: string;
  /** The runtime that it came from, by the id of its network manager; undefined for this one. */
  readonly node: string | undefined;
  /** Whether the runtime has found that it may be delivered. What it has not is for ports that no policy could name. */
  readonly judged: boolean;
}

/** These header blocks, less any that say whom the message is from, and with this one in their place. */
export function withOrigin(
  headers: readonly XmlElement[],
  { principal, node, judged }: Origin,
): readonly XmlElement[] {
  const attributes = {
    principal,
    ...(node === undefined ? {} : { node }),
    ...(judged ? { judged: 'true' } : {}),
  };
  return [element(ORIGIN, 'Origin', [], { attributes }), ...withoutOrigin(headers)];
}

export function withoutOrigin(headers: readonly XmlElement[]): readonly XmlElement[] {
  return headers.filter(({ namespace }) => namespace !== ORIGIN);
}

/** What the header of a message from the runtime says. Nothing means the runtime itself, of what it has not judged. */
export function readOrigin(headers: readonly XmlElement[], runtime: string): Origin {
  const block = headers.find((one) => one.is(ORIGIN, 'Origin'));
  return {
    principal: block?.attribute('principal') ?? runtime,
    node: block?.attribute('node'),
    judged: block?.attribute('judged') === 'true',
  };
}
