// What `ping` and `perf` may ask of a serving process; the one place that both sides read.

/** Bytes of one ping. */
export const PING_BYTES_MAX = 16 << 20;
/** Bytes of memory that is shared for one-sided access: of one piece, and of all pieces together. */
export const SHARE_BYTES_MAX = 64 << 20;
export const SHARED_BYTES_MAX = 256 << 20;
/** Messages one way that are awaited together; more would only queue. */
export const SENDS_IN_FLIGHT = 128;
