// Writes packets for the parser's fuzzer to begin with, one file each: the kinds that the data plane's
// tests are about, in both families.
//   node test/fuzz/seeds.ts DIRECTORY

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bytes, filler, ipv4, ipv6, tcp, udp } from '../dataplane/packets.ts';
import { BROKER, BROKER6, CLIENT, CLIENT_PORT, CLIENT6, PORT } from '../dataplane/scratch.ts';

const ENCAPSULATION_LIMIT = [4, 0, 4, 1, 4, 1, 1, 0];
const PROTOCOLS = { ipv4: 4, tcp: 6, udp: 17, ipv6: 41, fragment: 44, destinationOptions: 60 };

const ports = { from: CLIENT_PORT, to: PORT };
const inner6 = ipv6({ from: '2001:db8:1000:5::2', to: '2001:db8:80::80' }, filler(24));
const inner4 = ipv4({ from: '10.64.0.22', to: '192.0.2.80', protocol: 1 }, filler(24));
const tsp = bytes([0xf0, 0, 0, 1, 0, 0, 0, 1], filler(16));
const syn = tcp({ ...ports, flags: 2 });

function over4(protocol: number, payload: Uint8Array, options: number[] = [], fragment = 0) {
  return ipv4({ from: CLIENT, to: BROKER, protocol, options, fragment }, payload);
}

function over6(nextHeader: number, payload: Uint8Array) {
  return ipv6({ from: CLIENT6, to: BROKER6, nextHeader }, payload);
}

export function seeds(): Record<string, Uint8Array> {
  return {
    v6udpv4: over4(PROTOCOLS.udp, udp(ports, inner6)),
    'v6udpv4-options': over4(PROTOCOLS.udp, udp(ports, inner6), [1, 1, 1, 0]),
    v6v4: over4(PROTOCOLS.ipv6, inner6),
    tsp: over4(PROTOCOLS.udp, udp(ports, tsp)),
    'tsp-fragment': over4(PROTOCOLS.udp, udp(ports, tsp), [], 0x2000),
    syn: over4(PROTOCOLS.tcp, syn),
    'later-fragment': over4(PROTOCOLS.udp, filler(16), [], 0x0010),
    v4v6: over6(PROTOCOLS.ipv4, inner4),
    'v4v6-limit': over6(PROTOCOLS.destinationOptions, bytes(ENCAPSULATION_LIMIT, inner4)),
    tsp6: over6(PROTOCOLS.udp, udp(ports, tsp)),
    syn6: over6(PROTOCOLS.tcp, syn),
    'v6v4-fragment': over4(PROTOCOLS.ipv6, inner6.slice(0, 48), [], 0x2000),
    'v4v6-fragment': over6(PROTOCOLS.fragment, bytes([4, 0, 0, 1, 0, 0, 0, 7], inner4)),
    fragment6: over6(PROTOCOLS.fragment, bytes([17, 0, 0, 1, 0, 0, 0, 7], udp(ports, tsp))),
    'hop-by-hop': over6(0, bytes([17, 0, 1, 4, 0, 0, 0, 0], udp(ports, tsp))),
  };
}

if (import.meta.main) {
  const directory = process.argv[2] ?? '.';
  mkdirSync(directory, { recursive: true });
  for (const [name, packet] of Object.entries(seeds()))
    for (const readable of [255, 40])
      writeFileSync(join(directory, `${name}-${readable}`), bytes([readable], packet));
}
