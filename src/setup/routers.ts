// Routers for homes and small offices: OpenWrt, RouterOS, VyOS. All speak protocol 41 only.

import { cronLine, LINUX_LAN, sayKeepSending, shellCheck } from './common.ts';
import { code, type Sections, type System, say, sh } from './instructions.ts';
import { DEVICE, type Values } from './values.ts';

const protocol41 = {
  encapsulations: ['v6v4'],
  needsPublicAddress: true,
  servesNetwork: true,
} as const;

export const ROUTERS: readonly System[] = [
  {
    id: 'openwrt',
    title: 'OpenWrt',
    ...protocol41,
    evidence: 'documented',
    sections: openwrt,
  },
  {
    id: 'mikrotik',
    title: 'MikroTik RouterOS 7',
    ...protocol41,
    evidence: 'documented',
    sections: mikrotik,
  },
  { id: 'vyos', title: 'VyOS', ...protocol41, evidence: 'documented', sections: vyos },
];

function openwrt(values: Values): Sections {
  const { server, client, address, linkLength, mtu, prefix } = values;
  const set = (option: string, value: string | number) =>
    `uci set network.${DEVICE}.${option}='${value}'`;
  const crontab = '/etc/crontabs/root';
  return {
    setUp: [
      say('openwrt-packages'),
      // Releases from 25.12 have apk in the place of opkg.
      sh(
        'if command -v apk; then apk update; apk add 6in4 luci-proto-ipv6',
        'else opkg update; opkg install 6in4 luci-proto-ipv6; fi',
      ),
      ...(prefix ? [say('openwrt-prefix', { prefix: prefix.text })] : []),
      sh(
        `uci set network.${DEVICE}=interface`,
        set('proto', '6in4'),
        set('peeraddr', server),
        set('ipaddr', client),
        set('ip6addr', `${address}/${linkLength}`),
        set('mtu', mtu),
        ...(prefix
          ? [
              `uci add_list network.${DEVICE}.ip6prefix='${prefix.text}'`,
              `uci set network.lan.ip6assign='64'`,
            ]
          : []),
        `uci add_list firewall.@zone[1].network='${DEVICE}'`,
        'uci commit',
        'service network restart',
        'service firewall restart',
      ),
      sayKeepSending(values),
      sh(`echo '${cronLine(values)}' >> ${crontab}`, 'service cron restart'),
    ],
    check: shellCheck(values),
    undo: [
      sh(
        `sed -i '/ ${values.gateway} /d' ${crontab}`,
        'service cron restart',
        `uci del_list firewall.@zone[1].network='${DEVICE}'`,
        `uci delete network.${DEVICE}`,
        'uci commit',
        'service network restart',
        'service firewall restart',
      ),
    ],
  };
}

function mikrotik(values: Values): Sections {
  const { server, client, address, linkLength, gateway, mtu, prefix, resolver, keepaliveSeconds } =
    values;
  const lan = 'bridge';
  return {
    setUp: [
      say('mikrotik-name'),
      ...(prefix
        ? [say('prefix-to-lan', { prefix: prefix.text }), say('lan-stands-for', { lan })]
        : []),
      say('router-lines'),
      code(
        'routeros',
        `/interface 6to4 add name=${DEVICE} local-address=${client} remote-address=${server} mtu=${mtu} clamp-tcp-mss=yes !keepalive`,
        `/interface list member add list=WAN interface=${DEVICE}`,
        `/ipv6 address add address=${address}/${linkLength} interface=${DEVICE} advertise=no`,
        `/ipv6 route add dst-address=2000::/3 gateway=${gateway}`,
        ...(prefix
          ? [
              `/ipv6 route add dst-address=${prefix.text} blackhole`,
              `/ipv6 address add address=${prefix.router}/64 interface=${lan} advertise=yes`,
              `/ipv6 nd add interface=${lan} mtu=${mtu} dns=${resolver}`,
            ]
          : []),
      ),
      sayKeepSending(values),
      code(
        'routeros',
        `/tool netwatch add host=${gateway} interval=${keepaliveSeconds}s comment=${DEVICE}`,
      ),
    ],
    check: [
      say('check-gateway'),
      code('routeros', `/ping ${gateway} count=3`),
      say('check-beyond'),
      code('routeros', `/ping ${resolver} count=3`),
    ],
    undo: [
      code(
        'routeros',
        `/tool netwatch remove [find comment=${DEVICE}]`,
        ...(prefix
          ? [
              `/ipv6 nd remove [find interface=${lan}]`,
              `/ipv6 address remove [find address="${prefix.router}/64"]`,
              `/ipv6 route remove [find dst-address="${prefix.text}" blackhole]`,
            ]
          : []),
        `/ipv6 route remove [find gateway="${gateway}"]`,
        `/ipv6 address remove [find address="${address}/${linkLength}"]`,
        `/interface list member remove [find interface=${DEVICE}]`,
        `/interface 6to4 remove ${DEVICE}`,
      ),
    ],
  };
}

function vyos(values: Values): Sections {
  const { server, client, address, linkLength, gateway, mtu, mss, prefix, resolver } = values;
  const tunnel = 'interfaces tunnel tun0';
  const lan = LINUX_LAN;
  const advertise = `service router-advert interface ${lan}`;
  const count = Math.ceil(60 / values.keepaliveSeconds);
  const pings = `-6 -q -c ${count} -i ${values.keepaliveSeconds} ${gateway}`;
  const task = `system task-scheduler task ${DEVICE}`;
  return {
    setUp: [
      ...(prefix
        ? [say('prefix-to-lan', { prefix: prefix.text }), say('lan-stands-for', { lan })]
        : []),
      say('router-lines'),
      code(
        'vyos',
        'configure',
        `set ${tunnel} encapsulation sit`,
        `set ${tunnel} source-address ${client}`,
        `set ${tunnel} remote ${server}`,
        `set ${tunnel} address ${address}/${linkLength}`,
        `set ${tunnel} mtu ${mtu}`,
        `set ${tunnel} ipv6 adjust-mss ${mss}`,
        'set protocols static route6 ::/0 interface tun0',
        ...(prefix
          ? [
              `set protocols static route6 ${prefix.text} blackhole`,
              `set interfaces ethernet ${lan} address ${prefix.router}/64`,
              `set ${advertise} prefix ${prefix.lan}`,
              `set ${advertise} link-mtu ${mtu}`,
              `set ${advertise} name-server ${resolver}`,
            ]
          : []),
      ),
      sayKeepSending(values),
      code(
        'vyos',
        `set ${task} interval 1m`,
        `set ${task} executable path /bin/ping`,
        `set ${task} executable arguments '${pings}'`,
        'commit',
        'save',
      ),
    ],
    check: [
      say('check-gateway'),
      code('vyos', `run ping ${gateway} count 3`),
      say('check-beyond'),
      code('vyos', `run ping ${resolver} count 3`),
    ],
    undo: [
      code(
        'vyos',
        'configure',
        `delete ${task}`,
        ...(prefix
          ? [
              `delete ${advertise}`,
              `delete interfaces ethernet ${lan} address ${prefix.router}/64`,
              `delete protocols static route6 ${prefix.text}`,
            ]
          : []),
        'delete protocols static route6 ::/0 interface tun0',
        `delete ${tunnel}`,
        'commit',
        'save',
      ),
    ],
  };
}
