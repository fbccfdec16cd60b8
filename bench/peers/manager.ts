/**
 * The peer `manager`: the network manager's own request and answer, with the same body that the runtime's service gets. What the
 * runtime adds to it is what suite runtime tells.
 */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { connect, element, Envelope, listen } from '../../lib/index.js';
import { pairSubject, type Traffic } from '../pair.js';

const NAMESPACE = 'urn:splitplane:bench:runtime:1';

export const managerSubject = pairSubject({
  name: 'manager',
  module: import.meta.url,
  cases: [
    { metric: 'request_rtt', size: 64, mode: 'event' },
    // Over a unix socket, as runtimes do to processes of their own.
    { metric: 'process_rtt', size: 64, mode: 'event' },
  ],
  libraryCopiesPerByte: null,
});

function bodyOf(name: string, number: string) {
  return element(NAMESPACE, name, element(NAMESPACE, 'number', number));
}

export const traffic: Traffic = {
  async serve({ metric }, _recorder, signal) {
    const directory = await mkdtemp(`${tmpdir()}/splitplane-bench-`);
    const manager = await listen(metric === 'process_rtt' ? `unix:${directory}/socket` : 'tcp://127.0.0.1:0');
    signal.addEventListener('abort', () => {
      manager.destroy();
      rmSync(directory, { recursive: true, force: true });
    });
    void (async () => {
      for await (const message of manager.messages) {
        const number = message.envelope.body[0]?.child(NAMESPACE, 'number')?.text() ?? '';
        void message.reply({ action: `${NAMESPACE}/Told`, body: bodyOf('Told', number) });
        message.release();
      }
    })();
    return manager.address;
  },

  async drive(_task, address, recorder, signal) {
    await using connection = await connect(address);
    for (let number = 0; !signal.aborted; number++) {
      const begin = performance.now();
      const request = Envelope.of({ action: `${NAMESPACE}/Ask`, body: bodyOf('Ask', String(number)) });
      const answer = await connection.request(request, { deadlineMs: 30_000 });
      if (answer.envelope.body[0]?.child(NAMESPACE, 'number')?.text() !== String(number))
        throw new Error('the answer is to another request');
      answer.release();
      recorder.roundTrip(begin);
    }
  },
};
