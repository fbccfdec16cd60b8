// Follows files that somebody else appends to, and hands on the text as it comes.

import { Buffer } from 'node:buffer';
import { watch } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { StringDecoder } from 'node:string_decoder';

const chunkBytes = 64 * 1024;

class Follower {
  #file;
  #handle;
  #position = 0;
  #decoder = new StringDecoder('utf8');

  constructor(file) {
    this.#file = file;
  }

  /** Gives back what has been added since the last time; nothing as long as there is no file. */
  async read() {
    try {
      this.#handle ??= await open(this.#file);
    } catch (error) {
      if (error.code === 'ENOENT') return '';
      throw error;
    }
    let text = '';
    const buffer = Buffer.alloc(chunkBytes);
    for (;;) {
      const { bytesRead } = await this.#handle.read(buffer, 0, chunkBytes, this.#position);
      if (bytesRead === 0) return text;
      this.#position += bytesRead;
      text += this.#decoder.write(buffer.subarray(0, bytesRead));
    }
  }

  async close() {
    await this.#handle?.close();
  }
}

/**
 * Calls `onText(name, text)` with what is appended to the files `names` of an existing directory. Gives back a function
 * that reads them to their ends and then lets go of them.
 */
export function followFiles(directory, names, onText) {
  const followers = names.map((name) => [name, new Follower(path.join(directory, name))]);
  // One reading at a time keeps the text in order.
  let reading = Promise.resolve();
  const readOn = () => {
    reading = reading.then(async () => {
      for (const [name, follower] of followers) {
        const text = await follower.read();
        if (text !== '') onText(name, text);
      }
    });
    return reading;
  };
  const watcher = watch(directory, readOn);
  return async () => {
    watcher.close();
    await readOn();
    for (const [, follower] of followers) await follower.close();
  };
}
