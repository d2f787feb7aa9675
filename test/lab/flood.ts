// Floods a UDP port from inside a host with datagrams whose source addresses are invented, or always
// the same, as fast as it is told or can:
//   node test/lab/flood.ts invented|one ADDRESS PORT PACKETS-PER-SECOND SECONDS
// Ends by itself, and says how many were sent. Half are good TSP, which a server would answer; the
// rest is junk of every kind that the port knows.

import koffi from 'koffi';
import { parseIpv4 } from '../../src/address.ts';
import { bytes, filler, ipv4, ipv6, udp } from '../dataplane/packets.ts';

const BATCH = 128;
const ROOM = 256;
const [MESSAGE_HEADER, IO_VECTOR] = [64, 16]; // struct mmsghdr, struct iovec
const [AF_INET, SOCK_RAW, IPPROTO_RAW, SOL_SOCKET, SO_SNDBUF] = [2, 3, 255, 1, 7];
const IPV4_SOURCE = 12;

const [mode = '', address = '', port = '0', rate = '0', seconds = '0'] = process.argv.slice(2);
const target = parseIpv4(address);
if ((mode !== 'invented' && mode !== 'one') || target === undefined || Number(seconds) > 60)
  throw new Error('flood.ts invented|one ADDRESS PORT PACKETS-PER-SECOND SECONDS');

const libc = koffi.load('libc.so.6');
const mmap = libc.func(
  'intptr_t mmap(uintptr_t at, size_t length, int protection, int flags, int fd, long offset)',
);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const setsockopt = libc.func(
  'int setsockopt(int fd, int level, int name, void *value, uint32_t length)',
);
const connect = libc.func('int connect(int fd, void *address, uint32_t length)');
const sendmmsg = libc.func(
  'int sendmmsg(int fd, uintptr_t messages, unsigned int count, int flags)',
);

/** The payloads of the flood, in turn. */
function payloads(): Uint8Array[] {
  const tsp = bytes([0xf0, 0, 0, 1, 0, 0, 0, 0], new TextEncoder().encode('VERSION=2.0.2\r\n'));
  const stranger = ipv6({ from: '2001:db8:1000:1::2', to: '2001:db8:80::80' }, filler(24));
  return [
    tsp,
    bytes([0xff], filler(60)),
    tsp,
    stranger,
    tsp,
    bytes([0x00], filler(99)),
    tsp,
    stranger,
  ];
}

/** Messages of one batch in memory of our own, as sendmmsg() wants them; each has a packet. */
function prepare(): { messages: bigint; packets: DataView[] } {
  const octets = BATCH * (MESSAGE_HEADER + IO_VECTOR + ROOM);
  const [readWrite, privateAnonymous] = [3, 0x22];
  const base = BigInt(mmap(0, octets, readWrite, privateAnonymous, -1, 0));
  const memory: ArrayBuffer = koffi.view(base, octets);
  const view = new DataView(memory);
  const packets: DataView[] = [];
  const contents = payloads();
  for (let i = 0; i < BATCH; i++) {
    const message = i * MESSAGE_HEADER;
    const vector = BATCH * MESSAGE_HEADER + i * IO_VECTOR;
    const at = BATCH * (MESSAGE_HEADER + IO_VECTOR) + i * ROOM;
    const datagram = udp({ from: 1024 + i, to: Number(port) }, contents[i % contents.length]!);
    const packet = ipv4({ from: '0.0.0.0', to: address, protocol: 17 }, datagram);
    new Uint8Array(memory).set(packet, at);
    view.setBigUint64(vector, base + BigInt(at), true);
    view.setBigUint64(vector + 8, BigInt(packet.length), true);
    view.setBigUint64(message + 16, base + BigInt(vector), true);
    view.setBigUint64(message + 24, 1n, true);
    packets.push(new DataView(memory, at, packet.length));
  }
  return { messages: base, packets };
}

/** A raw socket that sends headers as they are; an empty source is filled in by the kernel. */
function openSocket(to: number): number {
  const fd: number = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  const bufferSize = Uint32Array.of(1 << 22);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, bufferSize, 4);
  const name = new Uint8Array(16);
  new DataView(name.buffer).setUint16(0, AF_INET, true);
  new DataView(name.buffer).setUint32(4, to);
  if (fd < 0 || connect(fd, name, name.length) < 0)
    throw new Error(`no raw socket: errno ${koffi.errno()}`);
  return fd;
}

/** Unicast addresses outside those of a lab, by a generator that is quick rather than good. */
let state = Date.now() >>> 0 || 1;
function inventedAddress(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (0x01000000 + ((state >>> 0) % 0x7e000000)) >>> 0;
}

function flood(): void {
  const fd = openSocket(target ?? 0);
  const { messages, packets } = prepare();
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const startMs = performance.now();
  const endMs = startMs + Number(seconds) * 1000;
  let sent = 0;
  for (let nowMs = startMs; nowMs < endMs; nowMs = performance.now()) {
    const dueMs = startMs + (sent * 1000) / Number(rate);
    if (dueMs > nowMs) Atomics.wait(pause, 0, 0, dueMs - nowMs);
    if (mode === 'invented')
      for (const packet of packets) packet.setUint32(IPV4_SOURCE, inventedAddress());
    sent += Math.max(0, sendmmsg(fd, messages, BATCH, 0));
  }
  console.log(
    `sent ${sent}, ${Math.round((sent * 1000) / (performance.now() - startMs))} a second`,
  );
}

flood();
