// A network card that sends into the void, as a process of its own inside a host:
//   node bench/card.ts NAME
// A TAP device whose queue nobody reads: what the host sends by it costs the host next to nothing
// beyond its own work, whether it comes as a buffer or as an XDP frame, as with a card whose hardware
// does the rest. The device counts it (as dropped), and lives until the process is ended.

import { constants, openSync } from 'node:fs';
import koffi from 'koffi';

const [TUNSETIFF, TAP_WITHOUT_PACKET_INFORMATION] = [0x400454ca, 0x1002];

const [name = ''] = process.argv.slice(2);
const fd = openSync('/dev/net/tun', constants.O_RDWR);
const request = new Uint8Array(40);
new TextEncoder().encodeInto(name, request.subarray(0, 15));
new DataView(request.buffer).setUint16(16, TAP_WITHOUT_PACKET_INFORMATION, true);
const ioctl = koffi.load('libc.so.6').func('ioctl', 'int', ['int', 'unsigned long', 'void *']);
if (ioctl(fd, TUNSETIFF, request) < 0) throw new Error(`No TAP device ${name}: ${koffi.errno()}`);
console.log('ready');
setInterval(() => {}, 60_000);
