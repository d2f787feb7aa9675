// Programs that speak TSP: they log in, so they need the secret, and they get through a NAT.

import { LINUX_LAN, radvd, shellCheck } from './common.ts';
import { file, type Sections, type Step, type System, say, sh } from './instructions.ts';
import { shellWord, systemdWord } from './quoting.ts';
import { SECRET_PLACEHOLDER, type Values } from './values.ts';

const DEFAULT_PORT = 3653;
export const SECRET_FILE = '/etc/sixway/tunnel.secret';
const SERVICE = 'sixway-client';

export const TSP_CLIENTS: readonly System[] = [
  {
    id: 'sixway',
    title: 'Sixway client',
    encapsulations: ['v6udpv4', 'v6v4'],
    needsPublicAddress: false,
    servesNetwork: true,
    evidence: 'run',
    sections: sixway,
  },
  {
    id: 'gogoc',
    title: 'gogoc',
    encapsulations: ['v6udpv4', 'v6v4'],
    needsPublicAddress: false,
    servesNetwork: true,
    evidence: 'documented',
    sections: gogoc,
  },
];

/** Who may use protocol 41 leaves the choice open: the client falls back to UDP where that is lost. */
function chosenType({ encapsulation }: Values): 'v6udpv4' | 'v6anyv4' {
  return encapsulation === 'v6udpv4' ? 'v6udpv4' : 'v6anyv4';
}

/** The words of `sixway connect …`; whoever quotes them knows for whom. */
export function connectWords(values: Values, ...options: readonly string[]): string[] {
  const { user, host, port } = values;
  const target = `${user}@${host}${port === DEFAULT_PORT ? '' : `:${port}`}`;
  // A user name may begin like an option.
  const last = target.startsWith('-') ? ['--', target] : [];
  return ['connect', ...(last.length > 0 ? [] : [target]), ...options, ...last];
}

export function secretFile(): Step[] {
  return [
    say('secret', { placeholder: SECRET_PLACEHOLDER }),
    sh('install -d -m 0700 /etc/sixway'),
    file(SECRET_FILE, '0600', 'conf', SECRET_PLACEHOLDER),
  ];
}

export const noSecretFile = `rm ${SECRET_FILE}`;

function sixway(values: Values): Sections {
  const { prefix, mtu } = values;
  const words = connectWords(
    values,
    '--type',
    chosenType(values),
    '--mtu',
    String(mtu),
    ...(prefix ? ['--prefix-length', String(prefix.length), '--lan', LINUX_LAN] : []),
    '--secret-file',
    SECRET_FILE,
  );
  return {
    setUp: [
      say('client-needs'),
      say('as-root'),
      ...secretFile(),
      ...(prefix ? [say('prefix-by-client', { prefix: prefix.text, lan: LINUX_LAN })] : []),
      say('client-try'),
      { ...sh(['sixway', ...words].map(shellWord).join(' ')), foreground: true },
      say('client-service'),
      file(
        `/etc/systemd/system/${SERVICE}.service`,
        '0644',
        'ini',
        '[Unit]',
        'Description=IPv6 tunnel',
        'Wants=network-online.target',
        'After=network-online.target',
        '',
        '[Service]',
        `ExecStart=/usr/bin/env sixway ${words.map(systemdWord).join(' ')}`,
        'Restart=always',
        'RestartSec=30',
        '',
        '[Install]',
        'WantedBy=multi-user.target',
      ),
      sh('systemctl daemon-reload', `systemctl enable --now ${SERVICE}`),
      ...(prefix ? radvd(values, prefix) : []),
    ],
    check: shellCheck(values),
    undo: [
      sh(
        ...(prefix ? ['systemctl disable --now radvd', 'rm /etc/radvd.conf'] : []),
        `systemctl disable --now ${SERVICE}`,
        `rm /etc/systemd/system/${SERVICE}.service`,
        'systemctl daemon-reload',
        noSecretFile,
      ),
    ],
  };
}

function gogoc(values: Values): Sections {
  const { prefix, user, host, port, keepaliveSeconds } = values;
  const config = '/etc/gogoc/gogoc.conf';
  return {
    setUp: [
      say('gogoc-needs'),
      say('secret', { placeholder: SECRET_PLACEHOLDER }),
      ...(prefix ? [say('prefix-by-client', { prefix: prefix.text, lan: LINUX_LAN })] : []),
      sh('install -d -m 0700 /etc/gogoc'),
      file(
        config,
        '0600',
        'conf',
        `userid=${user}`,
        `passwd=${SECRET_PLACEHOLDER}`,
        `server=${host}:${port}`,
        'auth_method=digest-md5',
        `tunnel_mode=${chosenType(values)}`,
        ...(prefix
          ? ['host_type=router', `prefixlen=${prefix.length}`, `if_prefix=${LINUX_LAN}`]
          : ['host_type=host']),
        'gogoc_dir=/usr/local/gogoc',
        'template=linux',
        'client_v4=auto',
        'client_v6=auto',
        'if_tunnel_v6v4=sit1',
        'if_tunnel_v6udpv4=tun',
        'proxy_client=no',
        'auto_retry_connect=yes',
        'retry_delay=30',
        'retry_delay_max=300',
        'keepalive=yes',
        `keepalive_interval=${keepaliveSeconds}`,
      ),
      sh('sysctl -w kernel.pid_max=65536', `/usr/local/gogoc/bin/gogoc -y -f ${config}`),
    ],
    check: shellCheck(values),
    undo: [sh('killall gogoc', `rm ${config}`)],
  };
}
