// Proves who peers are to the security manager, how it loads, and that a change of the policy is whole or none.

import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Peer } from '../../../lib/network/security.js';
import { parsePolicy } from '../../../lib/runtime/policy.js';
import { SecurityManager } from '../../../lib/runtime/security-manager.js';
import { ALICE, fail, file, folder, managerOf, may, policy, secret } from './policies.js';

const peer = (more: Partial<Peer>): Peer => ({
  nodeId: '00'.repeat(16),
  identity: 'a peer',
  credentials: Buffer.alloc(0),
  dialed: false,
  transport: 'tcp',
  localAddress: '10.0.0.1:7350',
  remoteAddress: '10.0.0.2:50000',
  localOnly: false,
  ...more,
});

describe('who a peer is', () => {
  const ADMITTED = `${ALICE}${secret('alice', 'the next secret')}${secret('bob', 'x')}`;

  test('is what its credentials prove, several of one principal included', async () => {
    const manager = await managerOf(ADMITTED);
    const as = (credentials: string): string | undefined =>
      manager.authenticate(peer({ credentials: Buffer.from(credentials), localOnly: true, uid: 0 }));
    expect(as('alice’s secret')).toBe('alice');
    expect(as('the next secret')).toBe('alice');
    expect(as('x')).toBe('bob');
    // Wrong ones do not fall back to where the peer is.
    for (const wrong of ['X', 'x\0', '\0', 'alice']) expect(as(wrong)).toBeUndefined();
  });

  test('is where it is, if it shows none', async () => {
    const manager = await managerOf(ADMITTED);
    expect(manager.authenticate(peer({ localOnly: true, uid: 7 }))).toBe('uid:7');
    expect(manager.authenticate(peer({ localOnly: true }))).toBe('local');
    expect(manager.authenticate(peer({}))).toBe('anonymous');
    // Its own word for itself counts for nothing.
    expect(manager.authenticate(peer({ identity: 'alice' }))).toBe('anonymous');
  });
});

describe('changes of the policy', () => {
  const GRANT = `${ALICE}<allow roles="staff" verbs="*" path="/*"/>`;

  test('take effect at once, for what was decided before too', async () => {
    const manager = await managerOf(GRANT);
    expect(may(manager, 'a')).toBe(true);
    manager.replace(parsePolicy(policy(ALICE), 'new.xml'));
    expect(may(manager, 'a')).toBe(false);
    expect(manager.policy.source).toBe('new.xml');
    manager.replace(parsePolicy(policy(GRANT), 'newer.xml'));
    expect(may(manager, 'a')).toBe(true);
    const changes = manager.audit.entries().filter(({ kind }) => kind === 'policy');
    expect(changes.map(({ path, decision }) => [path, decision])).toEqual([
      ['new.xml', 'allowed'],
      ['newer.xml', 'allowed'],
    ]);
  });

  test('a file that was replaced is read again as a whole', async () => {
    const path = file(policy(GRANT));
    const manager = await SecurityManager.load({ off: false, policy: path }, { log: fail });
    writeFileSync(path, policy(secret('bob', 'x')));
    // Until it is asked for, nothing changes.
    expect(may(manager, 'a')).toBe(true);
    const reloaded = manager.reload();
    expect(may(manager, 'a')).toBe(true);
    expect(manager.authenticate(peer({ credentials: Buffer.from('x') }))).toBeUndefined();
    await reloaded;
    expect(may(manager, 'a')).toBe(false);
    expect(manager.authenticate(peer({ credentials: Buffer.from('x') }))).toBe('bob');
    expect(manager.authenticate(peer({ credentials: Buffer.from('alice’s secret') }))).toBeUndefined();
  });

  test('a file that is broken, or that anybody can write, leaves the old policy in force and is reported', async () => {
    const path = file(policy(GRANT));
    const manager = await SecurityManager.load({ off: false, policy: path }, { log: fail });
    writeFileSync(path, `${policy('<allow roles="*" verbs="*" path="/*"/>').slice(0, -1)}`);
    await expect(manager.reload()).rejects.toMatchObject({ code: 'POLICY_INVALID' });
    writeFileSync(path, policy('<allow roles="*" verbs="*" path="/*"/>'));
    chmodSync(path, 0o666);
    await expect(manager.reload()).rejects.toMatchObject({
      code: 'POLICY_INVALID',
      message: expect.stringContaining(`chmod o-w ${path}`) as string,
    });
    expect(may(manager, 'a')).toBe(true);
    expect(may(manager, 'a', { principal: 'anonymous' })).toBe(false);
    const refused = manager.audit.entries().filter(({ kind }) => kind === 'policy');
    expect(refused.map(({ decision }) => decision)).toEqual(['refused', 'refused']);
    expect(refused[0]?.reason).toMatch(/well-formed/);
    expect(refused[1]?.reason).toMatch(/Everybody may write the policy/);
  });

  test('a file that is gone allows nothing any more', async () => {
    const path = file(policy(GRANT));
    const said: string[] = [];
    const manager = await SecurityManager.load(
      { off: false, policy: path },
      { log: (text) => said.push(text) },
    );
    expect(may(manager, 'a')).toBe(true);
    rmSync(path);
    await manager.reload();
    expect(may(manager, 'a')).toBe(false);
    expect(said).toEqual([expect.stringContaining(`There is no policy ${path}`)]);
  });

  test('of several that overlap the one that was asked for last wins', async () => {
    const path = file(policy(GRANT));
    const manager = await SecurityManager.load({ off: false, policy: path }, { log: fail });
    const first = manager.reload();
    manager.replace(parsePolicy(policy(ALICE), 'later.xml'));
    const second = manager.reload();
    writeFileSync(path, policy(GRANT));
    await Promise.all([first, second]);
    expect(manager.policy.source).toBe(path);
    const third = manager.reload();
    manager.replace(parsePolicy(policy(ALICE), 'last.xml'));
    await third;
    expect(manager.policy.source).toBe('last.xml');
    expect(may(manager, 'a')).toBe(false);
  });
});

describe('step 410: the security manager is loaded', () => {
  test('without a policy nothing is allowed, and that is said', async () => {
    const said: string[] = [];
    const path = join(folder, 'missing.xml');
    const manager = await SecurityManager.load(
      { off: false, policy: path },
      { log: (text) => said.push(text) },
    );
    expect(manager.off).toBe(false);
    expect(may(manager, 'a', { principal: 'runtime' })).toBe(false);
    expect(manager.registration('runtime', 'a').allowed).toBe(false);
    expect(manager.authenticate(peer({ credentials: Buffer.from('x') }))).toBeUndefined();
    expect(said).toEqual([
      `There is no policy ${path}: nothing is allowed. Write one, or turn security off in the manifest.`,
    ]);
  });

  test('with a policy that is broken or cannot be read there is no security manager', async () => {
    const load = (path: string): Promise<SecurityManager> =>
      SecurityManager.load({ off: false, policy: path }, { log: fail });
    await expect(load(file('<policy/>'))).rejects.toMatchObject({ code: 'POLICY_INVALID' });
    await expect(load(folder)).rejects.toMatchObject({ code: 'POLICY_INVALID' });
    await expect(load(join(file(policy('')), 'x'))).rejects.toMatchObject({ code: 'SYSTEM' });
  });

  test('with an audit log that cannot be written there is none either', async () => {
    const security = {
      off: false,
      policy: file(policy('')),
      audit: join(folder, 'nowhere', 'audit.log'),
    } as const;
    await expect(SecurityManager.load(security, { log: fail })).rejects.toMatchObject({
      code: 'SYSTEM',
      message: expect.stringContaining(security.audit) as string,
    });
  });

  test('off allows everything, knows peers by where they are, and takes no policy', async () => {
    const manager = await SecurityManager.load({ off: true }, { log: fail });
    expect(manager.off).toBe(true);
    expect(may(manager, '../anything', { principal: 'anonymous', verb: undefined })).toBe(true);
    expect(manager.registration('anonymous', 'a').allowed).toBe(true);
    expect(manager.memory({ principal: 'anonymous', path: 'a', contract: undefined }).allowed).toBe(true);
    expect(manager.authenticate(peer({ credentials: Buffer.from('x') }))).toBe('anonymous');
    await manager.reload();
    expect(() => manager.replace(parsePolicy(policy(''), 'p'))).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }) as Error,
    );
    expect(manager.audit.entries()).toEqual([]);
    await manager.close();
  });
});
