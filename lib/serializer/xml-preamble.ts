// What a document says of itself before its root element: the version and encoding in its XML declaration (XML 1.0, section
// 2.8), which the parser does not compare with what this side reads.

const XML_DECLARATION = /^\uFEFF?<\?xml\s([^?]*)/;

/** Whether a document declares itself XML 1.0 in UTF-8, or declares nothing, which means the same. */
export function isXml10InUtf8(document: string): boolean {
  const declaration = XML_DECLARATION.exec(document)?.[1];
  if (declaration === undefined) return true;
  const [, version] = /\bversion\s*=\s*["']([^"']*)/.exec(declaration) ?? [];
  const [, encoding = 'UTF-8'] = /\bencoding\s*=\s*["']([^"']*)/.exec(declaration) ?? [];
  return version === '1.0' && /^(?:utf-8|us-ascii)$/i.test(encoding);
}
