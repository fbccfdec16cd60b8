// The product over RDMA: the suite that every transport passes, and files from host to host by the command line.
import { beforeAll, describe, expect, test } from 'vitest';
import type { HostName, Hosts } from '../../ci/lab/lab.mjs';
import { laboratory, output, succeeded } from './laboratory.js';

/** A backstop, as all here are. */
const SUITE_TIMEOUT_MS = 1_200_000;

let lab: Hosts;
let client: HostName;

beforeAll(async () => {
  lab = await laboratory();
  client = lab.hosts.at(-1) ?? 'a';
});

// Their reports are counted beside the tests here.
describe('the suites that every transport passes', () => {
  test('the contract, in C++', async () => {
    const filter = "--gtest_filter='*rdma*' --gtest_brief=1 --gtest_output=json:$LAB_RESULTS/contract.json";
    await output('a', `SPLITPLANE_RDMA_ADDRESS=$LAB_SELF build-native/plain/native_test ${filter}`);
  });

  // What the whole suite takes on emulated processors is what one test takes elsewhere in this folder, many times over.
  test('the conformance suite, in JavaScript', { timeout: SUITE_TIMEOUT_MS }, async () => {
    const report = '--reporter=default --reporter=json --outputFile.json=$LAB_RESULTS/conformance.json';
    const vitest = `node node_modules/vitest/vitest.mjs run test/conformance --testTimeout 600000 ${report}`;
    await output('a', `SPLITPLANE_RDMA_ADDRESS=$LAB_SELF ${vitest}`);
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
