// A doctor that stays: whenever it gets SIGHUP it looks at its host, and with an argument at the way to the host that it names,
// and prints what it finds as a line of JSON. Starting a process takes long on an emulated machine, and looking does not.
import { examineHost } from '../../../lib/cli/doctor/host.js';
import { diagnose } from '../../../lib/cli/doctor/diagnosis.js';
import { NetworkManager } from '../../../lib/index.js';

const host = process.argv[2];
let looks = 0;

async function look(): Promise<void> {
  const manager = new NetworkManager();
  const { transports } = manager;
  manager.destroy();
  const here = await diagnose(transports);
  const signal = new AbortController().signal;
  const way =
    host === undefined ? [] : await examineHost(host, { allowInsecure: true, poll: 'event' }, here, signal);
  console.log(JSON.stringify({ look: ++looks, findings: [...here.findings, ...way] }));
}

process.on('SIGHUP', () => void look());
// Nothing else keeps it.
setInterval(() => undefined, 1 << 30);
console.log('ready');
