// Routers and firewalls of companies, by their own command lines: Cisco IOS, Junos, FortiOS. All speak
// protocol 41 only.

import { sayKeepSending } from './common.ts';
import { code, type Sections, type System, say } from './instructions.ts';
import { DEVICE, type Values } from './values.ts';

const protocol41 = {
  encapsulations: ['v6v4'],
  needsPublicAddress: true,
  servesNetwork: true,
} as const;

export const ENTERPRISE_ROUTERS: readonly System[] = [
  { id: 'cisco-ios', title: 'Cisco IOS', ...protocol41, evidence: 'documented', sections: ios },
  { id: 'junos', title: 'Junos', ...protocol41, evidence: 'documented', sections: junos },
  { id: 'fortigate', title: 'FortiGate', ...protocol41, evidence: 'documented', sections: fortios },
];

const IP_SLA = 41;

function ios(values: Values): Sections {
  const { server, client, address, linkLength, gateway, mtu, mss, prefix, resolver } = values;
  const lan = 'GigabitEthernet0/1';
  return {
    setUp: [
      ...(prefix
        ? [say('prefix-to-lan', { prefix: prefix.text }), say('lan-stands-for', { lan })]
        : []),
      say('router-lines'),
      code(
        'ios',
        'configure terminal',
        'ipv6 unicast-routing',
        'interface Tunnel0',
        ` ipv6 address ${address}/${linkLength}`,
        ' ipv6 enable',
        ` ipv6 mtu ${mtu}`,
        ` ipv6 tcp adjust-mss ${mss}`,
        ` tunnel source ${client}`,
        ` tunnel destination ${server}`,
        ' tunnel mode ipv6ip',
        'exit',
        'ipv6 route ::/0 Tunnel0',
        ...(prefix
          ? [
              `ipv6 route ${prefix.text} Null0`,
              `interface ${lan}`,
              ` ipv6 address ${prefix.router}/64`,
              ` ipv6 nd ra dns server ${resolver}`,
              'exit',
            ]
          : []),
      ),
      sayKeepSending(values),
      code(
        'ios',
        `ip sla ${IP_SLA}`,
        ` icmp-echo ${gateway}`,
        ` frequency ${values.keepaliveSeconds}`,
        'exit',
        `ip sla schedule ${IP_SLA} life forever start-time now`,
        'end',
        'write memory',
      ),
    ],
    check: [
      say('check-gateway'),
      code('ios', `ping ipv6 ${gateway}`),
      say('check-beyond'),
      code('ios', `ping ipv6 ${resolver}`),
    ],
    undo: [
      code(
        'ios',
        'configure terminal',
        `no ip sla ${IP_SLA}`,
        ...(prefix
          ? [
              `interface ${lan}`,
              ` no ipv6 nd ra dns server ${resolver}`,
              ` no ipv6 address ${prefix.router}/64`,
              'exit',
              `no ipv6 route ${prefix.text} Null0`,
            ]
          : []),
        'no ipv6 route ::/0 Tunnel0',
        'no interface Tunnel0',
        'end',
        'write memory',
      ),
    ],
  };
}

function junos(values: Values): Sections {
  const { server, client, address, linkLength, gateway, mtu, prefix, resolver } = values;
  const lan = 'ge-0/0/1';
  const unit = 'interfaces ip-0/0/0 unit 0';
  const announcer = `protocols router-advertisement interface ${lan}.0`;
  const probe = `services rpm probe ${DEVICE} test gateway`;
  return {
    setUp: [
      say('junos-port'),
      ...(prefix
        ? [say('prefix-to-lan', { prefix: prefix.text }), say('lan-stands-for', { lan })]
        : []),
      say('router-lines'),
      code(
        'junos',
        'configure',
        `set ${unit} tunnel source ${client}`,
        `set ${unit} tunnel destination ${server}`,
        `set ${unit} family inet6 mtu ${mtu}`,
        `set ${unit} family inet6 address ${address}/${linkLength}`,
        `set routing-options rib inet6.0 static route ::/0 next-hop ${gateway}`,
        ...(prefix
          ? [
              `set routing-options rib inet6.0 static route ${prefix.text} discard`,
              `set interfaces ${lan} unit 0 family inet6 address ${prefix.router}/64`,
              `set ${announcer} prefix ${prefix.lan}`,
              `set ${announcer} link-mtu ${mtu}`,
              `set ${announcer} dns-server-address ${resolver}`,
            ]
          : []),
      ),
      say('junos-flow'),
      code(
        'junos',
        'set security forwarding-options family inet6 mode flow-based',
        'set security zones security-zone untrust interfaces ip-0/0/0.0',
      ),
      sayKeepSending(values),
      code(
        'junos',
        `set ${probe} probe-type icmp6-ping`,
        `set ${probe} target address ${gateway}`,
        `set ${probe} test-interval ${values.keepaliveSeconds}`,
        'commit',
      ),
    ],
    check: [
      say('check-gateway'),
      code('junos', `run ping inet6 ${gateway} count 3`),
      say('check-beyond'),
      code('junos', `run ping inet6 ${resolver} count 3`),
    ],
    undo: [
      code(
        'junos',
        'configure',
        `delete services rpm probe ${DEVICE}`,
        'delete security zones security-zone untrust interfaces ip-0/0/0.0',
        ...(prefix
          ? [
              `delete ${announcer}`,
              `delete interfaces ${lan} unit 0 family inet6 address ${prefix.router}/64`,
              `delete routing-options rib inet6.0 static route ${prefix.text}`,
            ]
          : []),
        'delete routing-options rib inet6.0 static route ::/0',
        `delete ${unit}`,
        'commit',
      ),
    ],
  };
}

function fortios(values: Values): Sections {
  const { server, client, address, linkLength, gateway, mss, prefix, resolver } = values;
  const [wan, lan] = ['wan1', 'internal'];
  return {
    setUp: [
      say('wan-stands-for', { wan }),
      ...(prefix
        ? [say('prefix-to-lan-plain', { prefix: prefix.text }), say('lan-stands-for', { lan })]
        : []),
      say('router-lines'),
      code(
        'fortios',
        'config system sit-tunnel',
        `    edit "${DEVICE}"`,
        `        set source ${client}`,
        `        set destination ${server}`,
        `        set ip6 ${address}/${linkLength}`,
        `        set interface "${wan}"`,
        '    next',
        'end',
        'config router static6',
        '    edit 0',
        `        set device "${DEVICE}"`,
        '    next',
        ...(prefix
          ? [
              '    edit 0',
              `        set dst ${prefix.text}`,
              '        set blackhole enable',
              '        set distance 254',
              '    next',
            ]
          : []),
        'end',
        ...(prefix
          ? [
              'config system interface',
              `    edit "${lan}"`,
              '        config ipv6',
              `            set ip6-address ${prefix.router}/64`,
              '            set ip6-send-adv enable',
              '            config ip6-prefix-list',
              `                edit ${prefix.lan}`,
              '                    set autonomous-flag enable',
              '                    set onlink-flag enable',
              `                    set rdnss ${resolver}`,
              '                next',
              '            end',
              '        end',
              '    next',
              'end',
            ]
          : []),
      ),
      ...(prefix
        ? [
            say('fortigate-policy'),
            code(
              'fortios',
              'config firewall policy',
              '    edit 0',
              `        set name "${DEVICE}"`,
              `        set srcintf "${lan}"`,
              `        set dstintf "${DEVICE}"`,
              '        set action accept',
              '        set srcaddr6 "all"',
              '        set dstaddr6 "all"',
              '        set schedule "always"',
              '        set service "ALL"',
              `        set tcp-mss-sender ${mss}`,
              `        set tcp-mss-receiver ${mss}`,
              '    next',
              'end',
            ),
          ]
        : []),
      sayKeepSending(values),
      code(
        'fortios',
        'config system link-monitor',
        `    edit "${DEVICE}"`,
        '        set addr-mode ipv6',
        `        set srcintf "${DEVICE}"`,
        `        set server "${gateway}"`,
        '        set protocol ping',
        `        set source-ip6 ${address}`,
        '        set update-static-route disable',
        '    next',
        'end',
      ),
    ],
    check: [
      say('check-gateway'),
      code('fortios', `execute ping6 ${gateway}`),
      say('check-beyond'),
      code('fortios', `execute ping6 ${resolver}`),
    ],
    undo: [
      say('undo-menu', {
        menu: [
          'config system link-monitor',
          ...(prefix ? ['config firewall policy'] : []),
          'config router static6',
        ].join(', '),
      }),
      code('fortios', 'config system sit-tunnel', `    delete "${DEVICE}"`, 'end'),
    ],
  };
}
