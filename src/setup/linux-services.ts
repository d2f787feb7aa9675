// Linux by what a distribution configures its network with: tunnels that come back after a restart.
// Protocol 41 only: in UDP the port is known after a login, so no file can hold it.

import {
  FORWARDING_FILE,
  forwardingFile,
  keepaliveService,
  LINUX_LAN,
  noKeepaliveService,
  radvd,
  shellCheck,
} from './common.ts';
import { code, file, type Sections, type Step, type System, say, sh } from './instructions.ts';
import { DEVICE, type Values } from './values.ts';

const protocol41 = {
  encapsulations: ['v6v4'],
  needsPublicAddress: true,
  servesNetwork: true,
} as const;

export const LINUX_SERVICES: readonly System[] = [
  {
    id: 'systemd-networkd',
    title: 'Linux, systemd-networkd',
    ...protocol41,
    evidence: 'documented',
    sections: networkd,
  },
  {
    id: 'networkmanager',
    title: 'Linux, NetworkManager',
    ...protocol41,
    servesNetwork: false,
    evidence: 'documented',
    sections: networkManager,
  },
  {
    id: 'netplan',
    title: 'Linux, netplan',
    ...protocol41,
    evidence: 'documented',
    sections: netplan,
  },
  {
    id: 'ifupdown',
    title: 'Linux, ifupdown',
    ...protocol41,
    evidence: 'documented',
    sections: ifupdown,
  },
];

function networkd(values: Values): Sections {
  const { server, client, address, linkLength, gateway, mtu, prefix, resolver } = values;
  const base = `/etc/systemd/network/50-${DEVICE}`;
  const lan = (p: NonNullable<Values['prefix']>): Step[] => [
    say('prefix-to-lan', { prefix: p.text }),
    say('lan-stands-for', { lan: LINUX_LAN }),
    say('add-lines', { path: `/etc/systemd/network/${LINUX_LAN}.network` }),
    code(
      'ini',
      '[Network]',
      `Address=${p.router}/64`,
      'IPv6SendRA=yes',
      '',
      '[IPv6SendRA]',
      `DNS=${resolver}`,
      '',
      '[IPv6Prefix]',
      `Prefix=${p.lan}`,
    ),
    ...forwardingFile(),
  ];
  return {
    setUp: [
      say('as-root'),
      file(
        `${base}.netdev`,
        '0644',
        'ini',
        '[NetDev]',
        `Name=${DEVICE}`,
        'Kind=sit',
        `MTUBytes=${mtu}`,
        '',
        '[Tunnel]',
        'Independent=yes',
        `Local=${client}`,
        `Remote=${server}`,
        'TTL=64',
      ),
      file(
        `${base}.network`,
        '0644',
        'ini',
        '[Match]',
        `Name=${DEVICE}`,
        '',
        '[Network]',
        `Address=${address}/${linkLength}`,
        'IPv6AcceptRA=no',
        '',
        '[Route]',
        'Destination=::/0',
        `Gateway=${gateway}`,
        ...(prefix ? ['', '[Route]', `Destination=${prefix.text}`, 'Type=unreachable'] : []),
      ),
      ...(prefix ? lan(prefix) : []),
      say('networkd-applies'),
      sh('networkctl reload'),
      ...keepaliveService(values),
    ],
    check: [...shellCheck(values), sh(`networkctl status ${DEVICE}`)],
    undo: [
      noKeepaliveService(),
      sh(
        `rm ${base}.netdev ${base}.network`,
        ...(prefix ? [`rm ${FORWARDING_FILE}`] : []),
        'networkctl reload',
        `networkctl delete ${DEVICE}`,
      ),
      ...(prefix ? [say('undo-lines', { path: `/etc/systemd/network/${LINUX_LAN}.network` })] : []),
    ],
  };
}

function networkManager(values: Values): Sections {
  const { server, client, address, linkLength, gateway, mtu } = values;
  return {
    setUp: [
      say('as-root'),
      sh(
        `nmcli connection add type ip-tunnel con-name ${DEVICE} ifname ${DEVICE} \\`,
        `  ip-tunnel.mode sit ip-tunnel.local ${client} ip-tunnel.remote ${server} \\`,
        `  ip-tunnel.ttl 64 ip-tunnel.mtu ${mtu} ipv4.method disabled ipv6.method manual \\`,
        `  ipv6.addresses ${address}/${linkLength} ipv6.gateway ${gateway}`,
        `nmcli connection up ${DEVICE}`,
      ),
      ...keepaliveService(values),
    ],
    check: shellCheck(values),
    undo: [noKeepaliveService(), sh(`nmcli connection delete ${DEVICE}`)],
  };
}

function netplan(values: Values): Sections {
  const { server, client, address, linkLength, gateway, mtu, prefix } = values;
  const path = `/etc/netplan/60-${DEVICE}.yaml`;
  return {
    setUp: [
      say('as-root'),
      ...(prefix
        ? [say('prefix-to-lan', { prefix: prefix.text }), say('lan-stands-for', { lan: LINUX_LAN })]
        : []),
      file(
        path,
        '0600',
        'yaml',
        'network:',
        '  version: 2',
        ...(prefix
          ? [
              '  ethernets:',
              `    ${LINUX_LAN}:`,
              '      addresses:',
              `        - "${prefix.router}/64"`,
            ]
          : []),
        '  tunnels:',
        `    ${DEVICE}:`,
        '      mode: sit',
        `      local: ${client}`,
        `      remote: ${server}`,
        '      ttl: 64',
        `      mtu: ${mtu}`,
        '      addresses:',
        `        - "${address}/${linkLength}"`,
        '      routes:',
        '        - to: "::/0"',
        `          via: "${gateway}"`,
        ...(prefix ? [`        - to: "${prefix.text}"`, '          type: unreachable'] : []),
      ),
      ...(prefix ? [...forwardingFile(), ...radvd(values, prefix)] : []),
      say('netplan-applies'),
      sh('netplan try'),
      ...keepaliveService(values),
    ],
    check: shellCheck(values),
    undo: [
      noKeepaliveService(),
      sh(
        ...(prefix
          ? ['systemctl disable --now radvd', 'rm /etc/radvd.conf', `rm ${FORWARDING_FILE}`]
          : []),
        `rm ${path}`,
        'netplan apply',
        `ip link del ${DEVICE}`,
      ),
    ],
  };
}

function ifupdown(values: Values): Sections {
  const { server, client, address, linkLength, gateway, mtu, prefix } = values;
  const path = '/etc/network/interfaces';
  return {
    setUp: [
      say('as-root'),
      ...(prefix
        ? [say('prefix-to-lan', { prefix: prefix.text }), say('lan-stands-for', { lan: LINUX_LAN })]
        : []),
      say('add-lines', { path }),
      code(
        'conf',
        `auto ${DEVICE}`,
        `iface ${DEVICE} inet6 v4tunnel`,
        `  address ${address}`,
        `  netmask ${linkLength}`,
        `  endpoint ${server}`,
        `  local ${client}`,
        '  ttl 64',
        `  mtu ${mtu}`,
        `  gateway ${gateway}`,
        ...(prefix
          ? [
              `  up ip -6 route replace unreachable ${prefix.text}`,
              `  down ip -6 route del unreachable ${prefix.text}`,
              '',
              `iface ${LINUX_LAN} inet6 static`,
              `  address ${prefix.router}`,
              '  netmask 64',
            ]
          : []),
      ),
      ...(prefix
        ? [
            ...forwardingFile(),
            sh(`ip -6 address replace ${prefix.router}/64 dev ${LINUX_LAN}`),
            ...radvd(values, prefix),
          ]
        : []),
      sh(`ifup ${DEVICE}`),
      ...keepaliveService(values),
    ],
    check: shellCheck(values),
    undo: [
      noKeepaliveService(),
      sh(
        ...(prefix
          ? [
              'systemctl disable --now radvd',
              'rm /etc/radvd.conf',
              `rm ${FORWARDING_FILE}`,
              `ip -6 address del ${prefix.router}/64 dev ${LINUX_LAN}`,
            ]
          : []),
        `ifdown ${DEVICE}`,
      ),
      say('undo-lines', { path }),
    ],
  };
}
