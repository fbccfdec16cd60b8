// A doctor that stays: whenever it gets SIGHUP it looks at its host and prints what it finds as a line of JSON. Starting a
// process takes long on an emulated machine, and looking does not.
import { diagnose } from '../../../lib/cli/doctor/diagnosis.js';
import { NetworkManager } from '../../../lib/index.js';

let looks = 0;

async function look(): Promise<void> {
  const manager = new NetworkManager();
  const { transports } = manager;
  manager.destroy();
  const { findings } = await diagnose(transports);
  console.log(JSON.stringify({ look: ++looks, findings }));
}

process.on('SIGHUP', () => void look());
// Nothing else keeps it.
setInterval(() => undefined, 1 << 30);
console.log('ready');
