// Tunnels to fill instructions in with: every combination that makes a difference.

import { parseIpv4, parseIpv6, parseIpv6Prefix } from '../../src/address.ts';
import type { Encapsulation, TunnelFacts } from '../../src/setup/values.ts';

/** A name that every quoting has to work for. */
export const ODD_NAME = "-Ada's $HOME 100% \\ `id` #1; &";

export function facts(changes: Partial<TunnelFacts> = {}): TunnelFacts {
  return {
    server: { name: 'tb.example', address: parseIpv4('203.0.113.53')!, port: 3653 },
    user: 'ada',
    encapsulation: 'v6v4',
    gateway: parseIpv6('2001:db8:1000:7::1')!,
    address: parseIpv6('2001:db8:1000:7::2')!,
    linkLength: 64,
    prefix: parseIpv6Prefix('2001:db8:2000:300::/56'),
    mtu: 1400,
    keepaliveSeconds: 25,
    client: { address: parseIpv4('198.51.100.10')!, behindNat: false },
    resolver: parseIpv6('2620:fe::fe')!,
    ...changes,
  };
}

/** With the words that tell which one failed. */
export function everyCombination(): readonly (readonly [string, TunnelFacts])[] {
  const all: [string, TunnelFacts][] = [];
  for (const encapsulation of ['v6v4', 'v6udpv4'] satisfies Encapsulation[])
    for (const prefix of ['2001:db8:2000:300::/56', '2001:db8:2000:300::/64', undefined])
      for (const nat of [true, false, undefined])
        for (const user of ['ada', ODD_NAME]) {
          const made = facts({
            encapsulation,
            user,
            prefix: prefix === undefined ? undefined : parseIpv6Prefix(prefix),
            client:
              nat === undefined
                ? undefined
                : { address: parseIpv4('198.51.100.10')!, behindNat: nat },
          });
          all.push([`${encapsulation}, prefix ${prefix}, NAT ${nat}, user ${user}`, made]);
        }
  return all;
}
