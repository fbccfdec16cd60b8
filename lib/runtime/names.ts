// What services, paths, contracts and their URIs may be called. One place, because names are compared byte for byte: a name
// that could be written in two ways (a dot segment, an empty one, an escape) would be judged in one and found in the other.

/** The namespace of what every service can be asked, and of what faults say beside their reason. */
export const SERVICE = 'urn:splitplane:service:1';
/** UTF-16 units, and bytes, of a name. */
export const NAME_LENGTH_MAX = 255;
/** UTF-16 units of the URI of a service or a contract. */
export const URI_LENGTH_MAX = 1024;

/** Not "." nor "..", which some reader of URIs would take for steps. */
const SEGMENT = '(?!\\.\\.?(?:/|$))[A-Za-z0-9._~-]+';
const NAMES = `${SEGMENT}(?:/${SEGMENT})*`;
const NAME = new RegExp(`^${NAMES}$`);
const HOST = '(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*)|\\[[0-9A-Fa-f:.]+\\])';
const SERVICE_URI = new RegExp(`^dos://(?:${HOST}(?::(\\d{1,5}))?)?/(${NAMES})$`);
const CONTRACT = /^[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-~]+$/;
const PORT_MAX = 65_535;

/** Whether a service may have this name: segments of letters, digits, ".", "_", "~" and "-", joined by "/". */
export function isName(text: string): boolean {
  return text.length <= NAME_LENGTH_MAX && NAME.test(text);
}

/** Whether this is the path of a service: "/" and a name, in the one way it can be written. */
export function isPath(text: string): boolean {
  return text.startsWith('/') && isName(text.slice(1));
}

/** Whether this is the URI of a service, here or elsewhere: dos://HOST:PORT/NAME, dos://NODE.node/NAME or dos:///NAME. */
export function isServiceUri(text: string): boolean {
  if (text.length > URI_LENGTH_MAX) return false;
  const match = SERVICE_URI.exec(text);
  return match !== null && Number(match[1] ?? 0) <= PORT_MAX && isName(match[2] ?? '');
}

/** Whether a contract may be called this: an absolute URI in ASCII, since it is the namespace of bodies too. */
export function isContractUri(text: string): boolean {
  return text.length <= URI_LENGTH_MAX && CONTRACT.test(text);
}
