// Judges what has to be installed and loaded before a device can be used: libraries, providers, kernel modules, device
// nodes, the locked-memory limit, and whether the transport works after all. From facts alone.
import { formatSize } from '../terminal.js';
import { DRIVER_MODULES, LIBRARIES, MODULES_NEEDED, type DeviceNode, type Facts } from './facts.js';
import { counted, ok, problem, skipped, warning, type Finding } from './finding.js';

/** Below this not even the buffers of a few connections can be registered. */
const LOCKED_BYTES_MIN = 64 << 20;
/** Below this large transfers may be refused. */
const LOCKED_BYTES_AMPLE = 1 << 30;

/** How the libraries and their providers are installed, by os-release's ID or ID_LIKE. */
const INSTALL: Readonly<Record<string, string>> = {
  debian: 'apt install libibverbs1 librdmacm1 ibverbs-providers rdma-core',
  fedora: 'dnf install libibverbs librdmacm rdma-core',
  rhel: 'dnf install libibverbs librdmacm rdma-core',
  suse: 'zypper install libibverbs1 librdmacm1 libibverbs rdma-core',
  arch: 'pacman -S rdma-core',
};
/** Providers by the kernel's driver, where the names differ. */
const PROVIDERS: Readonly<Record<string, string>> = {
  mlx5_core: 'mlx5',
  mlx4_core: 'mlx4',
  bnxt_en: 'bnxt_re',
  ice: 'irdma',
  i40e: 'irdma',
  qede: 'qedr',
  mana: 'mana',
};

/** What comes before a device: each of these stands in the way of what follows. */
export function checkSoftware(facts: Facts): Finding[] {
  return [checkLibraries(facts), checkProviders(facts), checkModules(facts)];
}

/** What stands between a device and this process. */
export function checkAccess(facts: Facts): Finding[] {
  return [...checkNodes(facts), checkLockedMemory(facts), checkTransport(facts)];
}

/** The conclusion: what the transport itself says, which has loaded the libraries and asked for devices. */
function checkTransport({ transports }: Facts): Finding {
  const rdma = transports.find(({ name }) => name === 'rdma');
  if (rdma?.available === true) return ok('transport', 'this build has RDMA, and it can be used here');
  return problem('transport', `RDMA cannot be used here: ${rdma?.reason ?? 'this build does not know it'}`, {
    advice: 'Do what the sentence says, and what the findings above say. Until then connections use TCP.',
  });
}

function installation({ distributions }: Facts): string[] {
  const command = distributions.map((name) => INSTALL[name]).find((known) => known !== undefined);
  return command === undefined ? [] : [command];
}

function checkLibraries(facts: Facts): Finding {
  const missing = LIBRARIES.filter((name) => !facts.libraries.has(name));
  if (missing.length === 0) {
    return ok('libraries', LIBRARIES.map((name) => `${facts.libraries.get(name) ?? ''}/${name}`).join(', '));
  }
  return problem('libraries', `missing: ${missing.join(', ')}`, {
    advice: 'Install the RDMA libraries; in a container, into its image. LD_LIBRARY_PATH is searched too.',
    commands: installation(facts),
  });
}

function checkProviders(facts: Facts): Finding {
  const { providers, devices } = facts;
  if (facts.libraries.size < LIBRARIES.length) return skipped('providers', 'needs the libraries');
  const wanted = devices.flatMap(({ driver }) => (driver === undefined ? [] : (PROVIDERS[driver] ?? driver)));
  const missing = [...new Set(wanted)].filter((name) => !providers.includes(name));
  if (missing.length === 0 && providers.length > 0) {
    return ok(
      'providers',
      wanted.length > 0 ? [...new Set(wanted)].join(', ') : counted(providers.length, 'provider'),
    );
  }
  const seen = missing.length > 0 ? `none for ${missing.join(', ')}` : 'none';
  return problem('providers', `${seen}: libibverbs does not know the device without its part for it`, {
    advice: 'Install the providers of libibverbs (drivers in user space).',
    commands: installation(facts),
  });
}

function checkModules(facts: Facts): Finding {
  const { modulesLoaded, modulesAvailable, devices, container, kernel } = facts;
  const drivers = DRIVER_MODULES.filter((name) => modulesLoaded.has(name));
  const missing: string[] = MODULES_NEEDED.filter((name) => !modulesLoaded.has(name));
  const noDriver = drivers.length === 0 && devices.length === 0;
  if (missing.length === 0 && !noDriver) {
    return ok('modules', [...MODULES_NEEDED, ...drivers].join(', '));
  }
  const wanted = noDriver ? [...missing, 'rdma_rxe'] : missing;
  const absent = modulesAvailable === undefined ? [] : wanted.filter((name) => !modulesAvailable.has(name));
  const seen = [
    ...(missing.length > 0 ? [`not loaded: ${missing.join(', ')}`] : []),
    ...(noDriver ? ['no driver of an RDMA device is loaded'] : []),
  ].join('; ');
  if (container !== undefined) {
    return problem('modules', seen, {
      advice: `A container (${container}) uses the kernel of its host: load them there.`,
      commands: [loading(wanted)],
    });
  }
  if (absent.length > 0) {
    return problem(
      'modules',
      `${seen}; the kernel ${kernel ?? ''} was installed without ${absent.join(', ')}`,
      {
        advice:
          'Install the rest of its modules, or a kernel that has them: linux-modules-extra-VERSION (Ubuntu), linux-image-amd64 ' +
          'instead of the cloud kernel (Debian), kernel-modules-extra (Fedora). Then load them.',
        commands: [loading(wanted)],
      },
    );
  }
  const driver = noDriver
    ? ' A card has a module of its own (mlx5_ib, irdma, bnxt_re); rdma_rxe is soft-RoCE, which needs no card.'
    : '';
  return problem('modules', seen, {
    advice: `Load them, and name them in /etc/modules-load.d/rdma.conf to have them after the next start.${driver}`,
    commands: [loading(wanted)],
  });
}

function loading(names: readonly string[]): string {
  return `modprobe --all ${names.join(' ')}`;
}

function checkNodes(facts: Facts): Finding[] {
  const { nodes } = facts;
  if (nodes.length === 0) return [skipped('device-nodes', 'needs the kernel modules and a device')];
  const bad = nodes.filter(({ error }) => error !== undefined);
  if (bad.length === 0) return [ok('device-nodes', nodes.map(({ path }) => path).join(', '))];
  return bad.map((node) => badNode(node, facts));
}

function badNode({ path, error = '' }: DeviceNode, { container }: Facts): Finding {
  const subject = path;
  const inContainer = {
    subject,
    advice: 'Hand it to the container when it is started.',
    commands: ['docker run --device /dev/infiniband --ulimit memlock=-1 --network host …'],
  };
  switch (error) {
    case 'ENOENT':
      if (container !== undefined) return problem('device-nodes', 'not in this container', inContainer);
      return problem('device-nodes', 'missing, although the kernel has the device', {
        subject,
        advice: 'udev makes it: see that it runs, and have it look again.',
        commands: ['udevadm trigger --subsystem-match=infiniband_verbs --subsystem-match=misc'],
      });
    case 'EPERM':
      return problem('device-nodes', 'the device controller of a container or service forbids it', {
        ...inContainer,
        advice: `${inContainer.advice} In a systemd unit: DeviceAllow=char-infiniband_verbs rw.`,
      });
    case 'EACCES':
      return problem('device-nodes', 'this user may not read and write it', {
        subject,
        advice:
          'Let every user in, which is what rdma-core does: the kernel keeps users apart. For after the next start: a udev rule ' +
          'with MODE="0666".',
        commands: [`chmod 666 ${path}`],
      });
    default:
      return problem('device-nodes', `cannot be opened: ${error}`, {
        subject,
        advice: 'Reload the driver of the device; the log of the kernel (dmesg) says what is wrong with it.',
      });
  }
}

function checkLockedMemory({ lockedMemory, container }: Facts): Finding {
  const { soft, hard, unbound } = lockedMemory;
  const id = 'locked-memory';
  if (unbound) return ok(id, 'this user is not bound by a limit (CAP_IPC_LOCK)');
  if (soft === undefined) return skipped(id, 'the limit cannot be read');
  if (soft === Infinity) return ok(id, 'unlimited');
  const seen = `limited to ${formatSize(soft)}`;
  if (soft >= LOCKED_BYTES_AMPLE) return ok(id, seen);
  const raise = hard === Infinity || (hard ?? 0) > soft;
  const lasting =
    container === undefined
      ? 'In /etc/security/limits.d/rdma.conf write "* - memlock unlimited" and log in again; in a systemd unit, LimitMEMLOCK=infinity.'
      : `Start the container (${container}) with --ulimit memlock=-1.`;
  const remedy = {
    advice: `RDMA keeps the memory it moves in place. ${lasting}`,
    commands: raise ? [`ulimit -l ${hard === Infinity ? 'unlimited' : String((hard ?? 0) >> 10)}`] : [],
  };
  if (soft < LOCKED_BYTES_MIN) return problem(id, `${seen}, which is too little to register memory`, remedy);
  return warning(id, `${seen}; larger transfers will be refused, or go another way`, remedy);
}
