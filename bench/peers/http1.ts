/**
 * The peer `http1`: HTTP/1.1 by node:http.
 */
import { pairSubject } from '../pair.js';
import { HTTP_CASES, httpTraffic } from './http.js';

export const http1Subject = pairSubject({
  name: 'http1',
  module: import.meta.url,
  cases: HTTP_CASES,
  // What this bench copies is counted; what the parser and the streams copy, nobody has.
  libraryCopiesPerByte: null,
  version: () => Promise.resolve(process.versions.node),
});

export const traffic = httpTraffic(1);
