// How much a process may have grown and still count as flat.

/** What AddressSanitizer keeps of freed memory, to notice its use: 256 MiB unless told otherwise. */
const QUARANTINE_BYTES = process.env.ASAN_OPTIONS === undefined ? 0 : 256 << 20;

/** The bound for a growth of resident memory, in bytes: what the test tolerates, and what a sanitizer holds back. */
export function tolerated(mebibytes: number): number {
  return (mebibytes << 20) + QUARANTINE_BYTES;
}
