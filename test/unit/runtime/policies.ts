// Policies for tests of the security manager: written to files, loaded, and asked.

import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { POLICY_NAMESPACE } from '../../../lib/runtime/policy.js';
import { SecurityManager, type MessageAccess } from '../../../lib/runtime/security-manager.js';

export const folder = mkdtempSync(join(tmpdir(), 'security-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
/** The path of a new file. */
export const file = (content: string): string => {
  const path = join(folder, `${++files}.xml`);
  writeFileSync(path, content);
  return path;
};

export const policy = (inside: string): string => `<policy xmlns="${POLICY_NAMESPACE}">${inside}</policy>`;
/** A principal with the credential that consists of these bytes. */
export const secret = (name: string, bytes: string): string =>
  `<principal name="${name}" credential-sha256="${createHash('sha256').update(bytes).digest('hex')}"/>`;
export const ALICE = `${secret('alice', 'alice’s secret')}<role name="staff"><member principal="alice"/></role>`;

export async function managerOf(inside: string): Promise<SecurityManager> {
  return await SecurityManager.load({ off: false, policy: file(policy(inside)) }, { log: fail });
}

/** For where nothing is to be logged. */
export function fail(text: string): void {
  throw new Error(`unexpected: ${text}`);
}

/** Whether a message may be sent, by default Get by alice to a service without a contract. */
export function may(manager: SecurityManager, path: string, more: Partial<MessageAccess> = {}): boolean {
  return manager.message({ principal: 'alice', verb: 'Get', path, contract: undefined, ...more }).allowed;
}
