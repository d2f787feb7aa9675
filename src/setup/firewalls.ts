// pfSense and OPNsense: pages with fields instead of commands. Names of menus and fields are theirs.

import { code, type Sections, type Step, type System, say } from './instructions.ts';
import { DEVICE, type Values } from './values.ts';

const protocol41 = {
  encapsulations: ['v6v4'],
  needsPublicAddress: true,
  servesNetwork: true,
  evidence: 'documented',
} as const;

export const FIREWALLS: readonly System[] = [
  { id: 'pfsense', title: 'pfSense', ...protocol41, sections: pfsense },
  { id: 'opnsense', title: 'OPNsense', ...protocol41, sections: opnsense },
];

interface Menus {
  readonly gif: string;
  readonly assign: string;
  readonly gateways: string;
  readonly advertise: string;
  readonly ping: string;
}

/** The fields of the two that are the same. */
function sections(values: Values, menus: Menus, gifFields: readonly string[]): Sections {
  const { gateway, mtu, prefix, resolver } = values;
  const network: Step[] = prefix
    ? [
        say('prefix-to-lan-plain', { prefix: prefix.text }),
        say('in-the-web-interface', { menu: 'Interfaces > LAN' }),
        code('form', 'IPv6 Configuration Type: Static IPv6', `IPv6 address: ${prefix.router} / 64`),
        say('advertise-menu', { menu: menus.advertise, lan: 'LAN' }),
        code('form', 'Router Mode: Unmanaged', `DNS Servers: ${resolver}`),
      ]
    : [];
  return {
    setUp: [
      say('in-the-web-interface', { menu: menus.gif }),
      code('form', ...gifFields),
      say('assign-interface', { menu: menus.assign }),
      code(
        'form',
        `Description: ${DEVICE.toUpperCase()}`,
        'IPv6 Configuration Type: None',
        `MTU: ${mtu}`,
        // Both take the 60 octets of the headers off it by themselves.
        `MSS: ${mtu}`,
      ),
      say('gateway-default', { menu: menus.gateways }),
      code('form', `Gateway: ${gateway}`),
      ...network,
      say('monitor-keeps', { gateway }),
    ],
    check: [
      say('check-gateway'),
      say('in-the-web-interface', { menu: menus.ping }),
      code('form', `Hostname: ${gateway}`, 'IP Protocol: IPv6'),
      say('check-beyond'),
      code('form', `Hostname: ${resolver}`, 'IP Protocol: IPv6'),
    ],
    undo: [
      say('undo-menu', {
        menu: [menus.gif, menus.assign, menus.gateways, ...(prefix ? [menus.advertise] : [])].join(
          ', ',
        ),
      }),
    ],
  };
}

function pfsense(values: Values): Sections {
  const { server, address, gateway, linkLength } = values;
  return sections(
    values,
    {
      gif: 'Interfaces > Assignments > GIFs',
      assign: 'Interfaces > Assignments',
      gateways: 'System > Routing > Gateways',
      advertise: 'Services > Router Advertisement',
      ping: 'Diagnostics > Ping',
    },
    [
      'Parent Interface: WAN',
      `GIF Remote Address: ${server}`,
      `GIF tunnel local address: ${address}`,
      `GIF tunnel remote address: ${gateway}`,
      `GIF tunnel subnet: ${linkLength}`,
    ],
  );
}

function opnsense(values: Values): Sections {
  const { server, address, gateway, linkLength } = values;
  return sections(
    values,
    {
      gif: 'Interfaces > Devices > GIF',
      assign: 'Interfaces > Assignments',
      gateways: 'System > Gateways > Configuration',
      advertise: 'Services > Router Advertisements',
      ping: 'Interfaces > Diagnostics > Ping',
    },
    [
      'Parent interface: WAN',
      `GIF remote address: ${server}`,
      `GIF tunnel local address: ${address}`,
      `GIF tunnel remote address: ${gateway} / ${linkLength}`,
      'Route caching: off',
      'ECN friendly behavior: off',
    ],
  );
}
