// Text from anywhere made fit to be shown: to terminals, which control characters command, and in messages, whose XML cannot hold
// all of Unicode. Knows nothing of who shows it.

/**
 * Control characters but tab and line feed; what turns the direction of writing; halves of surrogate pairs; what XML 1.0 cannot
 * hold; and the separators that some viewers take for ends of lines.
 */
// eslint-disable-next-line no-control-regex -- control characters are what it is about
const UNFIT = /[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]|\p{Cs}/gu;

/** The text with a replacement character in place of each that is unfit, and cut to `lengthMax` UTF-16 units. */
export function printable(text: string, lengthMax = Infinity): string {
  const fit = (text.length > lengthMax ? `${text.slice(0, lengthMax)}...` : text).replace(UNFIT, '\ufffd');
  // Not a slice that keeps a whole message alive for as long as one line of it is remembered.
  return text.length > lengthMax ? Buffer.from(fit, 'utf8').toString('utf8') : fit;
}

/** The same for one line: where tabs and ends of lines stood, there is a blank. */
export function printableLine(text: string): string {
  return printable(text).replace(/[\t\n]+/g, ' ');
}
