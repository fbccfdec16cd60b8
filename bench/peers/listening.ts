/**
 * Waits for native servers that tell nobody when they listen. It knows no tool.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { ToolResult } from '../children.js';

const LISTEN_POLL_MS = 5;

/**
 * Settles when somebody listens on `port`, and rejects when `ended` does. For tools whose output is buffered and which accept a
 * single connection, so that neither reading nor knocking tells.
 */
export async function untilListening(port: number, ended: Promise<ToolResult>): Promise<void> {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  const listening = new RegExp(`^\\s*\\d+: [0-9A-F]+:${hexPort} \\S+ 0A `, 'm');
  let failure: Error | undefined;
  ended.catch((error: Error) => (failure = error));
  for (;;) {
    const tables = await Promise.all(
      ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'utf8')),
    );
    if (tables.some((table) => listening.test(table))) return;
    if (failure !== undefined) throw failure;
    await delay(LISTEN_POLL_MS);
  }
}
