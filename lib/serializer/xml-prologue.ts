// How every envelope begins and ends that is written here as text XML, and the namespace declarations that are therefore in
// scope of each header block and each child of the body.
import { NamespaceScope, REFERENCES, SOAP, WSA, XOP } from '../soap/namespaces.js';

const PREFIXES = { s: SOAP, wsa: WSA, sp: REFERENCES, xop: XOP };
const DECLARATIONS = Object.entries(PREFIXES).map(([prefix, namespace]) => `xmlns:${prefix}="${namespace}"`);

export const PROLOGUE_SCOPE = NamespaceScope.of(PREFIXES);
export const PROLOGUE = `<s:Envelope ${DECLARATIONS.join(' ')}><s:Header>`;
export const MIDDLE = '</s:Header><s:Body>';
export const EPILOGUE = '</s:Body></s:Envelope>';

/** The same for people. */
export const PRETTY_PROLOGUE = `<s:Envelope\n    ${DECLARATIONS.join('\n    ')}>\n  <s:Header>`;
export const PRETTY_MIDDLE = '\n  </s:Header>\n  <s:Body>';
export const PRETTY_EPILOGUE = '\n  </s:Body>\n</s:Envelope>\n';
