// What is wrong with an envelope's form (SOAP 1.2 part 1, section 5), whatever it is encoded in: the same fault with the same words.
import { MessageRefusedError } from '../soap/fault.js';
import type { XmlRefusal } from './xml-names.js';

/** What is wrong with names, as the refusal of a message. */
export function refusalOf({ message, limit }: XmlRefusal): MessageRefusedError {
  return limit === undefined
    ? MessageRefusedError.sender(`The message ${message}`)
    : MessageRefusedError.limit(message, limit);
}

export function textBetween(): MessageRefusedError {
  return MessageRefusedError.sender(
    'The envelope has text where SOAP 1.2 allows elements only. Leave it out.',
  );
}

export function otherThanHeaderAndBody(): MessageRefusedError {
  return MessageRefusedError.sender(
    'The envelope holds something other than one s:Header and one s:Body, in this order. Send just these.',
  );
}

export function noBody(): MessageRefusedError {
  return MessageRefusedError.sender('The envelope has no s:Body. Give it one.');
}

export function typeDeclaration(): MessageRefusedError {
  return MessageRefusedError.sender(
    'The message has a document type declaration. SOAP 1.2 forbids it; leave it out.',
  );
}

export function processingInstruction(): MessageRefusedError {
  return MessageRefusedError.sender(
    'The message has a processing instruction. SOAP 1.2 forbids it; leave it out.',
  );
}
