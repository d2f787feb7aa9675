// Many datagrams by one system call, where a socket of Node's goes through all of its machinery for
// each: reads what else is there when one has come, and sends what has gathered. Knows
// nothing of what is in them. Linux only.

import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { getSystemErrorMessage, promisify } from 'node:util';
import koffi from 'koffi';
import type { Endpoint, IpAddress } from './address.ts';

/** `bytes` are overwritten by the next batch. */
export type Receiver = (bytes: Uint8Array, from: Endpoint) => void;

const BATCH = 64;
/** How many wait to be sent while a thread is sending: a commit can answer hundreds at once. */
const OUTBOX = 1024;
/** So few are sent at once: to wake a thread takes as long. */
const FEW = 4;
/** The longest that are read whole, and that are sent. */
const [IN_OCTETS, OUT_OCTETS] = [8192, 1536] as const;
/** So that the event loop has its turn in a flood. */
const DATAGRAMS_AT_ONCE = 256;

// struct mmsghdr, 64 octets: a msghdr (name and iov with their lengths), and msg_len at 56.
const HEADER = 64;
const [AT_NAME, AT_NAME_LENGTH, AT_IOV, AT_IOV_COUNT, AT_LENGTH] = [0, 8, 16, 24, 56] as const;
const IOV = 16;
const [AT_CONTROL, AT_CONTROL_LENGTH] = [32, 40] as const;
/** struct cmsghdr with a timespec behind it: seconds and nanoseconds, 64 bits each. */
const CONTROL = 32;
const [AT_SECONDS, AT_NANOSECONDS] = [16, 24] as const;
const [SOCKET_LEVEL, RECEIVE_BUFFER, RECEIVE_BUFFER_FORCED, TIMESTAMPS] = [1, 8, 33, 35] as const;
const [SHARE_ADDRESS, CHOOSE_SOCKET] = [15, 51] as const;
/** Some thousand datagrams: less than a second's work. */
const BUFFER_OCTETS = 8 << 20;
/** Room for struct sockaddr_in6, 28 octets; sockaddr_in has 16. */
const NAME = 32;
const [FAMILY_IPV4, FAMILY_IPV6] = [2, 10] as const;
const DONT_WAIT = 0x40;

export class DatagramBatches {
  readonly #system = bindSystem();
  readonly #fd: number;
  readonly #refused: (bytes: Uint8Array, to: Endpoint) => void;
  readonly #in: Area;
  #out: Area;
  #spare: Area;
  #queued = 0;
  /** Settles when the thread that is sending is through. */
  #sending: Promise<void> | undefined;

  /**
   * `fd`: a UDP socket that is open until this is closed. `refused` gets what the system would not
   * take at once, and what is longer than what is usual here.
   */
  constructor(
    fd: number,
    family: 'IPv4' | 'IPv6',
    refused: (bytes: Uint8Array, to: Endpoint) => void,
  ) {
    this.#fd = fd;
    this.#refused = refused;
    this.#setOption(TIMESTAMPS, 1);
    // The forced kind needs CAP_NET_ADMIN, the other is cut down to the system's limit.
    if (this.#setOption(RECEIVE_BUFFER_FORCED, BUFFER_OCTETS) < 0)
      this.#setOption(RECEIVE_BUFFER, BUFFER_OCTETS);
    this.#in = new Area(family, BATCH, IN_OCTETS);
    for (let i = 0; i < BATCH; i++) this.#in.prepare(i);
    this.#out = new Area(family, OUTBOX, OUT_OCTETS);
    this.#spare = new Area(family, OUTBOX, OUT_OCTETS);
  }

  /**
   * Reads what has come, about `most` datagrams. `waitedMs`: how long the first of them lay there before
   * it was read.
   */
  receive(
    receiver: Receiver,
    most = DATAGRAMS_AT_ONCE,
  ): { readonly count: number; readonly waitedMs: number } {
    let sum = 0;
    let waitedMs = 0;
    while (sum < most) {
      const count = this.#system.recvmmsg(this.#fd, this.#in.headers, BATCH, DONT_WAIT, null);
      if (sum === 0 && count > 0) waitedMs = Math.max(0, Date.now() - this.#in.arrivalMs(0));
      for (let i = 0; i < count; i++) {
        const from = this.#in.peerOf(i);
        const bytes = this.#in.received(i);
        this.#in.prepare(i);
        if (from) receiver(bytes, from);
      }
      sum += Math.max(0, count);
      if (count < BATCH) break;
    }
    return { count: sum, waitedMs };
  }

  #setOption(option: number, value: number): number {
    const octets = Buffer.alloc(4);
    octets.writeInt32LE(value);
    return this.#system.setsockopt(this.#fd, SOCKET_LEVEL, option, octets, octets.length);
  }

  /** Leaves with the next {@link flush}, or before when there are many. */
  put(to: Endpoint, bytes: Uint8Array): void {
    if (bytes.length > OUT_OCTETS) {
      this.#refused(bytes, to);
      return;
    }
    if (this.#queued === OUTBOX) {
      this.#send(this.#out, 0, OUTBOX);
      this.#queued = 0;
    }
    this.#out.put(this.#queued++, to, bytes);
  }

  /**
   * Sends what has gathered: a few at once, many in a thread, since most of the kernel's work on a
   * datagram is done by who sends it.
   */
  flush(): void {
    const count = this.#queued;
    // Whoever is sending goes on with these.
    if (count === 0 || this.#sending) return;
    this.#queued = 0;
    if (count < FEW) this.#send(this.#out, 0, count);
    else this.#sending = this.#sendAside(count);
  }

  /** After this nobody uses the socket any more. */
  async close(): Promise<void> {
    this.flush();
    while (this.#sending) await this.#sending;
  }

  async #sendAside(count: number): Promise<void> {
    const area = this.#out;
    this.#out = this.#spare;
    this.#spare = area;
    const sent = await this.#system.sendmmsgAside(this.#fd, area.headers, count, DONT_WAIT);
    // What it stopped at is tried again here, where the system says why.
    this.#send(area, Math.max(0, sent), count);
    this.#sending = undefined;
    this.flush();
  }

  #send(area: Area, from: number, to: number): void {
    for (let done = from; done < to; ) {
      const headers = area.headers.subarray(done * HEADER);
      const sent = this.#system.sendmmsg(this.#fd, headers, to - done, DONT_WAIT);
      if (sent > 0) {
        done += sent;
        continue;
      }
      if (koffi.errno() === constants.errno.EINTR) continue;
      const peer = area.peerOf(done);
      if (peer) this.#refused(area.payload(done).slice(), peer);
      done++;
    }
  }
}

/** Room for a batch of datagrams, with their headers as the system wants them. */
class Area {
  readonly headers: Buffer;
  readonly #iovs: Buffer;
  readonly #names: Buffer;
  readonly #payloads: Buffer;
  readonly #controls: Buffer;
  readonly #family: 'IPv4' | 'IPv6';
  readonly #nameLength: number;
  readonly #octets: number;

  /** `octets`: the longest datagram. */
  constructor(family: 'IPv4' | 'IPv6', count: number, octets: number) {
    this.headers = Buffer.alloc(count * HEADER);
    this.#iovs = Buffer.alloc(count * IOV);
    this.#names = Buffer.alloc(count * NAME);
    this.#octets = octets;
    this.#payloads = Buffer.alloc(count * octets);
    this.#controls = Buffer.alloc(count * CONTROL);
    this.#family = family;
    this.#nameLength = family === 'IPv4' ? 16 : 28;
    const buffers = [this.#names, this.#iovs, this.#payloads, this.#controls];
    const [names, iovs, payloads, controls] = buffers.map(addressOf);
    for (let i = 0; i < count; i++) {
      const header = i * HEADER;
      this.headers.writeBigUInt64LE(names! + BigInt(i * NAME), header + AT_NAME);
      this.headers.writeBigUInt64LE(iovs! + BigInt(i * IOV), header + AT_IOV);
      this.headers.writeBigUInt64LE(1n, header + AT_IOV_COUNT);
      this.headers.writeUInt32LE(this.#nameLength, header + AT_NAME_LENGTH);
      this.headers.writeBigUInt64LE(controls! + BigInt(i * CONTROL), header + AT_CONTROL);
      this.#iovs.writeBigUInt64LE(payloads! + BigInt(i * octets), i * IOV);
      this.#names.writeUInt16LE(family === 'IPv4' ? FAMILY_IPV4 : FAMILY_IPV6, i * NAME);
    }
  }

  /** As it has to be before reading, which changes it. */
  prepare(index: number): void {
    this.headers.writeUInt32LE(this.#nameLength, index * HEADER + AT_NAME_LENGTH);
    this.headers.writeUInt32LE(CONTROL, index * HEADER + AT_CONTROL_LENGTH);
    this.#iovs.writeUInt32LE(this.#octets, index * IOV + 8);
  }

  put(index: number, { address, port }: Endpoint, bytes: Uint8Array): void {
    const name = index * NAME;
    this.#names.writeUInt16BE(port, name + 2);
    if (typeof address === 'number') this.#names.writeUInt32BE(address, name + 4);
    else {
      this.#names.writeBigUInt64BE(address >> 64n, name + 8);
      this.#names.writeBigUInt64BE(address & 0xffff_ffff_ffff_ffffn, name + 16);
    }
    this.#payloads.set(bytes, index * this.#octets);
    this.#iovs.writeUInt32LE(bytes.length, index * IOV + 8);
  }

  /** Undefined: a link-local address, which has a zone and no business with a broker. */
  peerOf(index: number): Endpoint | undefined {
    const name = index * NAME;
    const port = this.#names.readUInt16BE(name + 2);
    if (this.#family === 'IPv4') return { address: this.#names.readUInt32BE(name + 4), port };
    const high = this.#names.readBigUInt64BE(name + 8);
    const address: IpAddress = (high << 64n) | this.#names.readBigUInt64BE(name + 16);
    return high >> 54n === 0x3fan ? undefined : { address, port };
  }

  /** Unix milliseconds. */
  arrivalMs(index: number): number {
    const control = index * CONTROL;
    const seconds = Number(this.#controls.readBigInt64LE(control + AT_SECONDS));
    return seconds * 1000 + Number(this.#controls.readBigInt64LE(control + AT_NANOSECONDS)) / 1e6;
  }

  received(index: number): Uint8Array {
    return this.#slice(index, this.headers.readUInt32LE(index * HEADER + AT_LENGTH));
  }

  payload(index: number): Uint8Array {
    return this.#slice(index, this.#iovs.readUInt32LE(index * IOV + 8));
  }

  #slice(index: number, length: number): Uint8Array {
    const start = index * this.#octets;
    return this.#payloads.subarray(start, start + length);
  }
}

/**
 * A UDP socket at an address, for Node to take over by its descriptor: Node does not show those of its
 * own. `shared`: beside another one that {@link shareAddress} was called for. Throws an error with the
 * system's `code`.
 */
export function openUdp({ address, port }: Endpoint, shared = false): number {
  const family = typeof address === 'number' ? 'IPv4' : 'IPv6';
  const domain = family === 'IPv4' ? FAMILY_IPV4 : FAMILY_IPV6;
  const datagramsNonBlockingCloseOnExec = 0x80802;
  const libc = bindSystem();
  const fd = checked(libc.socket(domain, datagramsNonBlockingCloseOnExec, 0), 'socket');
  try {
    if (shared) shareAddress(fd);
    const [levelIpv6, only] = [41, 26] as const;
    if (family === 'IPv6') setFlag(fd, levelIpv6, only);
    const name = nameOf({ address, port });
    checked(libc.bind(fd, name, name.length), 'bind');
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** struct sockaddr_in, or sockaddr_in6. */
function nameOf({ address, port }: Endpoint): Buffer {
  const name = Buffer.alloc(typeof address === 'number' ? 16 : 28);
  name.writeUInt16LE(typeof address === 'number' ? FAMILY_IPV4 : FAMILY_IPV6);
  name.writeUInt16BE(port, 2);
  if (typeof address === 'number') name.writeUInt32BE(address, 4);
  else {
    name.writeBigUInt64BE(address >> 64n, 8);
    name.writeBigUInt64BE(address & 0xffff_ffff_ffff_ffffn, 16);
  }
  return name;
}

/** From now on other sockets of this process may have the address of this one, if they want to. */
export function shareAddress(fd: number): void {
  setFlag(fd, SOCKET_LEVEL, SHARE_ADDRESS);
}

function setFlag(fd: number, level: number, option: number): void {
  const one = Buffer.alloc(4);
  one.writeInt32LE(1);
  checked(bindSystem().setsockopt(fd, level, option, one, one.length), 'setsockopt');
}

/**
 * Of two sockets that share an address, the second one gets the datagrams that have `word` at `offset`
 * (32 bits, big-endian), and the first one all others. `fd`: either.
 */
export function divert(fd: number, offset: number, word: number): void {
  const [loadWord, jumpIfEqual, answer] = [0x20, 0x15, 0x06] as const;
  const program = [
    [loadWord, 0, 0, offset],
    [jumpIfEqual, 0, 1, word],
    [answer, 0, 0, 1],
    [answer, 0, 0, 0],
  ] as const;
  // struct sock_filter, eight octets each, and struct sock_fprog that leads to them.
  const filters = Buffer.alloc(program.length * 8);
  for (const [i, [code, ifTrue, ifFalse, value]] of program.entries()) {
    filters.writeUInt16LE(code, i * 8);
    filters.writeUInt8(ifTrue, i * 8 + 2);
    filters.writeUInt8(ifFalse, i * 8 + 3);
    filters.writeUInt32LE(value, i * 8 + 4);
  }
  const leader = Buffer.alloc(16);
  leader.writeUInt16LE(program.length);
  leader.writeBigUInt64LE(addressOf(filters), 8);
  checked(
    bindSystem().setsockopt(fd, SOCKET_LEVEL, CHOOSE_SOCKET, leader, leader.length),
    'setsockopt',
  );
}

function checked(result: number, syscall: string): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  const code = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0];
  const error = new Error(`${syscall}: ${getSystemErrorMessage(-errno)}`);
  throw Object.assign(error, { code, syscall });
}

/** Of memory that does not move: buffers of this size are outside of the engine's heap. */
function addressOf(buffer: Buffer): bigint {
  return BigInt(koffi.address(buffer));
}

type System = ReturnType<typeof load>;
let system: System | undefined;

function bindSystem(): System {
  system ??= load();
  return system;
}

function load() {
  const libc = koffi.load('libc.so.6');
  const sendmmsg = libc.func('int sendmmsg(int fd, void *headers, uint32_t count, int flags)');
  return {
    socket: libc.func('int socket(int domain, int type, int protocol)'),
    bind: libc.func('int bind(int fd, void *name, uint32_t length)'),
    recvmmsg: libc.func(
      'int recvmmsg(int fd, void *headers, uint32_t count, int flags, void *timeout)',
    ),
    setsockopt: libc.func(
      'int setsockopt(int fd, int level, int option, void *value, uint32_t length)',
    ),
    sendmmsg,
    sendmmsgAside: promisify(sendmmsg.async) as (
      fd: number,
      headers: Buffer,
      count: number,
      flags: number,
    ) => Promise<number>,
  };
}
