// macOS and Windows: one machine, by protocol 41. Neither sets up a network behind it here.

import { sayKeepSending, shellCheck } from './common.ts';
import { code, type Sections, type System, say, sh } from './instructions.ts';
import { DEVICE, type Values } from './values.ts';

const oneMachine = {
  encapsulations: ['v6v4'],
  needsPublicAddress: true,
  servesNetwork: false,
  evidence: 'reported',
} as const;

export const DESKTOPS: readonly System[] = [
  { id: 'macos', title: 'macOS', ...oneMachine, sections: macos },
  { id: 'windows', title: 'Windows', ...oneMachine, sections: windows },
];

function macos(values: Values): Sections {
  const { server, client, address, gateway, mtu, keepaliveSeconds } = values;
  return {
    setUp: [
      // gif0 is always there on macOS, and cannot be made or destroyed.
      sh(
        `sudo ifconfig gif0 tunnel ${client} ${server}`,
        `sudo ifconfig gif0 inet6 ${address} ${gateway} prefixlen 128`,
        `sudo ifconfig gif0 mtu ${mtu} up`,
        `sudo route -n add -inet6 default ${gateway}`,
      ),
      say('macos-lasting'),
      sayKeepSending(values),
      { ...sh(`ping6 -q -i ${keepaliveSeconds} ${gateway}`), foreground: true },
    ],
    check: shellCheck(values, 'ping6'),
    undo: [
      sh(
        `sudo route -n delete -inet6 default ${gateway}`,
        `sudo ifconfig gif0 inet6 ${address} delete`,
        'sudo ifconfig gif0 deletetunnel',
        'sudo ifconfig gif0 down',
      ),
    ],
  };
}

function windows(values: Values): Sections {
  const { server, client, address, gateway, mtu, resolver } = values;
  // The scheduler has minutes, and Windows' ping has one second: it goes on for most of each minute.
  const task = `ping -6 -n 50 ${gateway}`;
  return {
    setUp: [
      say('as-administrator'),
      code(
        'cmd',
        'netsh interface teredo set state disabled',
        `netsh interface ipv6 add v6v4tunnel interface=${DEVICE} localaddress=${client} remoteaddress=${server}`,
        `netsh interface ipv6 add address interface=${DEVICE} address=${address}`,
        `netsh interface ipv6 add route prefix=::/0 interface=${DEVICE} nexthop=${gateway}`,
        `netsh interface ipv6 set subinterface interface=${DEVICE} mtu=${mtu} store=persistent`,
      ),
      say('windows-range'),
      sayKeepSending(values),
      code('cmd', `schtasks /create /tn ${DEVICE} /sc minute /ru SYSTEM /tr "${task}"`),
    ],
    check: [
      say('check-gateway'),
      code('cmd', `ping -6 ${gateway}`),
      say('check-beyond'),
      code('cmd', `ping -6 ${resolver}`),
    ],
    undo: [
      code(
        'cmd',
        `schtasks /delete /tn ${DEVICE} /f`,
        `netsh interface ipv6 delete interface interface=${DEVICE}`,
        'netsh interface teredo set state default',
      ),
    ],
  };
}
