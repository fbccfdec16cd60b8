/**
 * The peer `http2`: HTTP/2 by node:http2.
 */
import { pairSubject } from '../pair.js';
import { HTTP_CASES, httpTraffic } from './http.js';

export const http2Subject = pairSubject({
  name: 'http2',
  module: import.meta.url,
  cases: HTTP_CASES,
  // What this bench copies is counted; what the parser and the streams copy, nobody has.
  libraryCopiesPerByte: null,
  version: () => Promise.resolve(process.versions.node),
});

export const traffic = httpTraffic(2);
