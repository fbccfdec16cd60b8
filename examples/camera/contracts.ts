// What the services of this example can be asked and what they tell: the one module that both hosts share. Data alone.
import {
  body,
  buffer,
  contract,
  Insert,
  integer,
  list,
  number,
  optional,
  Query,
  record,
  text,
} from '../../lib/runtime/index.js';

/** In pixels. */
const size = { width: integer(1, 8192), height: integer(1, 8192) } as const;

const frame = {
  /** Counts the frames of a camera, from 1. */
  sequence: integer(1),
  ...size,
  /** Of the pixels, in hex, as the camera computed it: whoever gets them can see that they are the same. */
  sha256: text(),
  /** Red, green and blue of each pixel, a byte each, from the top left, line by line. They never travel in the message. */
  pixels: buffer(),
} as const;

/** Where something moved since the frame before. */
const box = record({ x: integer(0), y: integer(0), ...size });

export const Camera = contract('urn:example:camera:1', {
  operations: {
    /** A frame of this moment. */
    look: Query(body('Look', {}), body('Frame', frame)),
  },
  notifications: {
    /** Each frame. */
    frame: body('Frame', frame),
  },
  state: body('CameraState', { ...size, framesPerSecond: number() }),
});

export const Analysis = contract('urn:example:analysis:1', {
  notifications: {
    /** What was seen on a frame. */
    seen: body('Seen', { sequence: integer(1), brightness: number(), moved: optional(box) }),
  },
  state: body('AnalysisState', {
    /** One frame of so many goes to the recorder. */
    recordEvery: integer(1),
    /** Frames that were looked at. */
    frames: optional(integer(0)),
    /** How many of them had the SHA-256 that the camera said. */
    equal: optional(integer(0)),
    /** How many went to the recorder. */
    recorded: optional(integer(0)),
    /** Of the last frame: the mean, 0 for black and 255 for white, and where it changed. */
    brightness: optional(number()),
    moved: optional(box),
  }),
});

const recording = { sequence: integer(1), brightness: number(), sha256: text() } as const;

export const Recorder = contract('urn:example:recorder:1', {
  operations: {
    /** Stores a frame as a PNG file. DuplicateEntry where there is one of this sequence. */
    store: Insert(
      body('Store', { ...frame, brightness: number() }),
      body('Stored', { file: text(), bytes: integer(0) }),
    ),
    /** What is stored, in the order in which it came. */
    list: Query(
      body('List', {}),
      body('Recordings', { recordings: list(record({ ...recording, file: text() })) }),
    ),
  },
  state: body('RecorderState', {
    /** From where the runtime was started. */
    folder: text(),
  }),
});
