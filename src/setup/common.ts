// Steps that several systems share: how to check a tunnel, what to do for its life, and the network
// behind a Linux machine.

import { file, type Step, say, sh } from './instructions.ts';
import { DEVICE, type DelegatedPrefix, type Values } from './values.ts';

export const LINUX_LAN = 'eth1';
const KEEPALIVE = `${DEVICE}-keepalive`;
const PINGS = 3;
const CRON_SECONDS = 60;

export function shellCheck({ gateway, resolver }: Values, ping = 'ping -6'): Step[] {
  return [
    say('check-gateway'),
    sh(`${ping} -c ${PINGS} ${gateway}`),
    say('check-beyond'),
    sh(`${ping} -c ${PINGS} ${resolver}`),
  ];
}

/** A line for a crontab of any user. Cron has minutes, so it sends all of a minute's pings. */
export function cronLine({ gateway, keepaliveSeconds }: Values, ping = 'ping -6'): string {
  const count = Math.ceil(CRON_SECONDS / keepaliveSeconds);
  return `* * * * * ${ping} -q -c ${count} -i ${keepaliveSeconds} ${gateway} >/dev/null 2>&1`;
}

export function keepaliveService(values: Values): Step[] {
  const { gateway, keepaliveSeconds } = values;
  return [
    sayKeepSending(values),
    file(
      `/etc/systemd/system/${KEEPALIVE}.service`,
      '0644',
      'ini',
      '[Unit]',
      'Description=Keepalives of the IPv6 tunnel',
      'After=network.target',
      '',
      '[Service]',
      `ExecStart=/bin/ping -6 -q -i ${keepaliveSeconds} ${gateway}`,
      'Restart=always',
      'RestartSec=10',
      '',
      '[Install]',
      'WantedBy=multi-user.target',
    ),
    sh('systemctl daemon-reload', `systemctl enable --now ${KEEPALIVE}`),
  ];
}

export function noKeepaliveService(): Step {
  return sh(
    `systemctl disable --now ${KEEPALIVE}`,
    `rm /etc/systemd/system/${KEEPALIVE}.service`,
    'systemctl daemon-reload',
  );
}

export function sayKeepSending({ keepaliveSeconds }: Values): Step {
  return say('keep-sending', { seconds: String(keepaliveSeconds) });
}

/** Address, routes and announcements for the network behind a Linux machine; until the next restart. */
export function linuxNetwork(values: Values): Step[] {
  const { prefix } = values;
  if (!prefix) return [];
  return [
    say('prefix-to-lan', { prefix: prefix.text }),
    say('lan-stands-for', { lan: LINUX_LAN }),
    sh(
      'sysctl -w net.ipv6.conf.all.forwarding=1',
      `ip -6 address replace ${prefix.router}/64 dev ${LINUX_LAN}`,
      `ip -6 route replace unreachable ${prefix.text}`,
    ),
    ...radvd(values, prefix),
  ];
}

export function noLinuxNetwork({ prefix }: Values): string[] {
  if (!prefix) return [];
  return [
    'systemctl disable --now radvd',
    'rm /etc/radvd.conf',
    `ip -6 route del unreachable ${prefix.text}`,
    `ip -6 address del ${prefix.router}/64 dev ${LINUX_LAN}`,
  ];
}

/** The hosts are told the tunnel's MTU, so that they need not learn it from lost packets. */
export function radvd({ mtu, resolver }: Values, prefix: DelegatedPrefix): Step[] {
  return [
    say('announce'),
    file(
      '/etc/radvd.conf',
      '0644',
      'conf',
      `interface ${LINUX_LAN} {`,
      '  AdvSendAdvert on;',
      `  AdvLinkMTU ${mtu};`,
      `  prefix ${prefix.lan} { };`,
      `  RDNSS ${resolver} { };`,
      '};',
    ),
    sh('systemctl enable radvd', 'systemctl restart radvd'),
  ];
}

/** Written into the kernel's settings at each start, unlike `sysctl -w`. */
export const FORWARDING_FILE = '/etc/sysctl.d/60-tunnel.conf';

export function forwardingFile(): Step[] {
  return [
    file(FORWARDING_FILE, '0644', 'conf', 'net.ipv6.conf.all.forwarding = 1'),
    sh(`sysctl -p ${FORWARDING_FILE}`),
  ];
}
