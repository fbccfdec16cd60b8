// The product over RDMA: the suite that every transport passes, and files from host to host by the command line.
import { beforeAll, describe, expect, test } from 'vitest';
import type { HostName, Hosts } from '../../ci/lab/lab.mjs';
import { laboratory, output, succeeded } from './laboratory.js';

let lab: Hosts;
let client: HostName;

beforeAll(async () => {
  lab = await laboratory();
  client = lab.hosts.at(-1) ?? 'a';
});

// Its report is counted beside the tests here.
describe('the suite that every transport passes', () => {
  test('the contract, in C++', async () => {
    const filter = "--gtest_filter='*rdma*' --gtest_brief=1 --gtest_output=json:$LAB_RESULTS/contract.json";
    await output('a', `SPLITPLANE_RDMA_ADDRESS=$LAB_SELF build-native/plain/native_test ${filter}`);
  });
});

describe('between two hosts', () => {
  test('a file is fetched over RDMA, byte by byte', async () => {
    const server = lab.spawn(
      'a',
      `mkdir -p /tmp/served && head -c 24M /dev/urandom >/tmp/served/model.bin && sha256sum /tmp/served/model.bin &&
       exec node dist/lib/cli/main.js serve --root /tmp/served --listen rdma://$LAB_SELF:0 --allow-insecure --json`,
    );
    try {
      const [, port] = await server.until(/rdma:\/\/[^"\s]*:(\d+)/);
      const digest = /^[0-9a-f]{64}/.exec(server.stdout)?.[0];
      const fetched = await output(
        client,
        `node dist/lib/cli/main.js get --allow-insecure --json rdma://$LAB_PEER:${port}/model.bin /tmp/fetched &&
         sha256sum /tmp/fetched/model.bin`,
      );
      expect(digest).toBeDefined();
      expect(fetched).toContain(digest);
    } finally {
      server.signal('SIGTERM');
    }
    succeeded(await server.result, 'serve');
  });
});
