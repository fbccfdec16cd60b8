// Characters, names and escaping by the letter of XML 1.0 (fifth edition) and Namespaces in XML 1.0. Knows nothing of
// elements.
import { SplitplaneError } from '../errors.js';

const NAME_START =
  'A-Z_a-z\\u00C0-\\u00D6\\u00D8-\\u00F6\\u00F8-\\u02FF\\u0370-\\u037D\\u037F-\\u1FFF\\u200C-\\u200D\\u2070-\\u218F' +
  '\\u2C00-\\u2FEF\\u3001-\\uD7FF\\uF900-\\uFDCF\\uFDF0-\\uFFFD\\u{10000}-\\u{EFFFF}';
const NAME_REST = `\\u0300-\\u036F${NAME_START}\\-.0-9\\u00B7\\u203F\\u2040`;
const NC_NAME = new RegExp(`^[${NAME_START}][${NAME_REST}]*$`, 'u');

/** Anything but the Char production (XML 1.0, section 2.2); lone surrogates included. */
const NOT_CHAR = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u;
/** Text that may need more than copying; what is left out is ASCII. Quick to test, exact is not needed. */
const TEXT_SPECIAL = /[^\t\n !-%'-;=?-~]/;
const VALUE_SPECIAL = /[^ !#-%'-;=?-~]/;
const NOT_ASCII = /[^\0-\x7f]/;
const NOT_PLAIN_ASCII = /[^\t\n\r -~]/;

// A literal CR would be read as LF (section 2.11), and white space in attribute values as a space (section 3.3.3).
const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
};

export function isNcName(name: string): boolean {
  return NC_NAME.test(name);
}

/** Throws INVALID_ARGUMENT for a local name that nothing in a document can have. `isBare`: it stands without a prefix. */
export function checkLocalName(localName: string, isBare: boolean): void {
  if (isNcName(localName) && !(isBare && localName === 'xmlns')) return;
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    `XML cannot carry the name ${JSON.stringify(localName)}. Use letters, digits, ".", "-" and "_", a letter first.`,
  );
}

/** Whether only white space, as XML knows it. */
export function isBlank(text: string): boolean {
  return !/[^ \t\n\r]/.test(text);
}

/** Whether XML can hold every character of it. */
export function isText(text: string): boolean {
  return !NOT_CHAR.test(text);
}

export function isAscii(text: string): boolean {
  return !NOT_ASCII.test(text);
}

/** Whether all of it is ASCII that XML can hold; false for DEL, too, which nobody uses. */
export function isPlainAscii(text: string): boolean {
  return !NOT_PLAIN_ASCII.test(text);
}

/** Whether text can be written as it is, and is ASCII. */
export function isPlainText(text: string): boolean {
  return !TEXT_SPECIAL.test(text);
}

/** Whether an attribute value can be written as it is, and is ASCII. */
export function isPlainValue(value: string): boolean {
  return !VALUE_SPECIAL.test(value);
}

/** Text for between tags. Throws INVALID_ARGUMENT for characters that XML 1.0 cannot carry. */
export function escapeText(text: string): string {
  checkCharacters(text);
  return text.replace(/[&<>\r]/g, escapeCharacter);
}

/** Text for between double quotes. Throws INVALID_ARGUMENT for characters that XML 1.0 cannot carry. */
export function escapeValue(value: string): string {
  checkCharacters(value);
  return value.replace(/[&<>"\t\n\r]/g, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return ESCAPES[character] ?? character;
}

/** Throws INVALID_ARGUMENT for characters that XML 1.0 cannot carry. */
export function checkCharacters(text: string): void {
  const found = NOT_CHAR.exec(text);
  if (found === null) return;
  const code = found[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    `XML cannot carry the character U+${code} at position ${found.index}. Encode such text, or send it as a buffer.`,
  );
}

/** Whether `part` stands at this place: four times faster than startsWith, which compares characters one by one. */
export function hasAt(text: string, at: number, part: string): boolean {
  return text.slice(at, at + part.length) === part;
}
