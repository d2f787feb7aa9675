// FreeBSD and OpenBSD: a gif interface, in the files that bring it back after a restart.

import { cronLine, sayKeepSending, shellCheck } from './common.ts';
import { code, file, type Sections, type System, say, sh } from './instructions.ts';
import type { Values } from './values.ts';

const protocol41 = {
  encapsulations: ['v6v4'],
  needsPublicAddress: true,
  servesNetwork: true,
} as const;

export const BSD: readonly System[] = [
  { id: 'freebsd', title: 'FreeBSD', ...protocol41, evidence: 'reported', sections: freebsd },
  { id: 'openbsd', title: 'OpenBSD', ...protocol41, evidence: 'documented', sections: openbsd },
];

const LAN = 'em1';
const CRON_FILE = '/etc/cron.d/gif0';

function freebsd(values: Values): Sections {
  const { server, client, address, gateway, mtu, prefix, resolver } = values;
  return {
    setUp: [
      say('as-root'),
      sh(
        'sysrc cloned_interfaces+="gif0"',
        `sysrc ifconfig_gif0="tunnel ${client} ${server} mtu ${mtu}"`,
        `sysrc ifconfig_gif0_ipv6="inet6 ${address} ${gateway} prefixlen 128"`,
        `sysrc ipv6_defaultrouter="${gateway}"`,
        'service netif cloneup',
        'service netif start gif0',
        'service routing restart',
      ),
      ...(prefix
        ? [
            say('prefix-to-lan', { prefix: prefix.text }),
            say('lan-stands-for', { lan: LAN }),
            file(
              '/etc/rtadvd.conf',
              '0644',
              'conf',
              `${LAN}:\\`,
              `  :mtu#${mtu}:rdnss="${resolver}":`,
            ),
            sh(
              'sysrc ipv6_gateway_enable="YES"',
              `sysrc ifconfig_${LAN}_ipv6="inet6 ${prefix.router} prefixlen 64"`,
              'sysrc ipv6_static_routes="unused"',
              `sysrc ipv6_route_unused="-net ${prefix.text} ::1 -reject"`,
              'sysrc rtadvd_enable="YES"',
              `sysrc rtadvd_interfaces="${LAN}"`,
              `service netif restart ${LAN}`,
              'service routing restart',
              'service rtadvd restart',
            ),
          ]
        : []),
      sayKeepSending(values),
      // A system crontab has the user before the command.
      file(CRON_FILE, '0644', 'conf', cronLine(values, 'root /sbin/ping -6')),
    ],
    check: shellCheck(values),
    undo: [
      sh(
        `rm ${CRON_FILE}`,
        ...(prefix
          ? [
              'service rtadvd stop',
              `route -n delete -6 -net ${prefix.text}`,
              `ifconfig ${LAN} inet6 ${prefix.router} delete`,
              `sysrc -x rtadvd_enable rtadvd_interfaces ipv6_gateway_enable ifconfig_${LAN}_ipv6`,
              'sysrc -x ipv6_static_routes ipv6_route_unused',
              'rm /etc/rtadvd.conf',
            ]
          : []),
        'sysrc -x ifconfig_gif0 ifconfig_gif0_ipv6 ipv6_defaultrouter',
        'sysrc cloned_interfaces-="gif0"',
        'route -n delete -6 default',
        'ifconfig gif0 destroy',
      ),
    ],
  };
}

function openbsd(values: Values): Sections {
  const { server, client, address, gateway, mtu, prefix, resolver } = values;
  return {
    setUp: [
      say('as-root'),
      file(
        '/etc/hostname.gif0',
        '0640',
        'conf',
        `tunnel ${client} ${server}`,
        `mtu ${mtu}`,
        `!/sbin/ifconfig gif0 inet6 ${address} ${gateway} prefixlen 128`,
        `!/sbin/route -qn add -inet6 default ${gateway}`,
        ...(prefix ? [`!/sbin/route -qn add -inet6 ${prefix.text} ::1 -reject`] : []),
      ),
      sh('sh /etc/netstart gif0'),
      ...(prefix
        ? [
            say('prefix-to-lan', { prefix: prefix.text }),
            say('lan-stands-for', { lan: LAN }),
            say('add-lines', { path: `/etc/hostname.${LAN}` }),
            code('conf', `inet6 ${prefix.router} 64`),
            file(
              '/etc/rad.conf',
              '0640',
              'conf',
              `interface ${LAN} {`,
              `  mtu ${mtu}`,
              '  dns {',
              `    nameserver ${resolver}`,
              '  }',
              '}',
            ),
            sh(
              `sh /etc/netstart ${LAN}`,
              'echo net.inet6.ip6.forwarding=1 >> /etc/sysctl.conf',
              'sysctl net.inet6.ip6.forwarding=1',
              'rcctl enable rad',
              'rcctl restart rad',
            ),
          ]
        : []),
      sayKeepSending(values),
      sh(`(crontab -l; echo '${cronLine(values, '/sbin/ping6')}') | crontab -`),
    ],
    check: shellCheck(values, 'ping6'),
    undo: [
      sh(
        `crontab -l | grep -v ' ${gateway} ' | crontab -`,
        ...(prefix
          ? [
              'rcctl stop rad',
              'rcctl disable rad',
              'rm /etc/rad.conf',
              "sed -i '/^net.inet6.ip6.forwarding=1$/d' /etc/sysctl.conf",
              `sed -i '/^inet6 ${prefix.router} 64$/d' /etc/hostname.${LAN}`,
              `ifconfig ${LAN} inet6 ${prefix.router} delete`,
              `route -n delete -inet6 ${prefix.text}`,
            ]
          : []),
        'route -n delete -inet6 default',
        'ifconfig gif0 destroy',
        'rm /etc/hostname.gif0',
      ),
    ],
  };
}
