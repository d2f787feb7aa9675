// The load generator's UDP sockets: one for each port, for any number of own addresses at once, with
// datagrams read and written by the batch. The second of the project's two doors to foreign functions,
// since a socket of Node's has one address and costs a turn of the event loop for each datagram: a
// generator made of those would measure itself. Knows nothing of what is in the datagrams. Linux only.

import { constants } from 'node:os';
import { getSystemErrorMessage } from 'node:util';
import koffi from 'koffi';
import type { Ipv4Address, Ipv4Endpoint } from '../address.ts';

/** `local` is the own address that it came to; `bytes` are overwritten by the next batch. */
export type Receiver = (socket: number, local: Ipv4Address, bytes: Uint8Array) => void;

const BATCH = 64;
/** Datagrams that wait to be sent. */
const OUTBOX = 256;
const DATAGRAM_OCTETS = 2048;
/** Below those that the system gives to others. */
const FIRST_PORT = 10_240;
const BUFFER_OCTETS = 8 << 20;
const LEAST_BUFFER_OCTETS = 1 << 18;

// struct mmsghdr, 64 octets: a msghdr (name, iov and control with their lengths), and msg_len at 56.
const HEADER = 64;
const [AT_NAME, AT_NAME_LENGTH, AT_IOV, AT_IOV_COUNT] = [0, 8, 16, 24] as const;
const [AT_CONTROL, AT_CONTROL_LENGTH, AT_LENGTH] = [32, 40, 56] as const;
const IOV = 16;
/** struct cmsghdr with an in_pktinfo behind it: index 16, own address 20, destination 24. */
const CONTROL = 32;
const CONTROL_LENGTH = 28;
const [AT_OWN_ADDRESS, AT_DESTINATION] = [20, 24] as const;
const ADDRESS = 16;
/** struct epoll_event is packed on x86-64 alone. */
const EVENT = process.arch === 'x64' ? 12 : 16;
const AT_EVENT_DATA = EVENT - 8;

/** The system refused something; the message says what. */
export class SocketFailure extends Error {
  readonly code: string;

  constructor(step: string, errno: number) {
    const code =
      Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
    super(`${step}: ${getSystemErrorMessage(-errno)} (${code})`);
    this.name = 'SocketFailure';
    this.code = code;
  }
}

export class Sockets {
  readonly #system: System;
  readonly #fds: readonly number[];
  readonly #epoll: number;
  readonly #memory: Memory;
  readonly #in: Area;
  readonly #out: Area;
  /** Headers of one socket in a row, for one call. */
  readonly #row: number;
  readonly #rowAddress: bigint;
  readonly #events: number;
  readonly #eventsAddress: bigint;
  /** struct timespec. */
  readonly #timeout: number;
  readonly #timeoutAddress: bigint;
  /** By socket: which of the outbox's places are to go out there. */
  readonly #waiting: number[][];
  #queued = 0;
  #unsent = 0;

  /**
   * `ports` sockets, on the same ports each time unless somebody has them: who logs in again in another
   * run should come from where the tunnel is. Throws {@link SocketFailure}.
   */
  constructor(ports: number, server: Ipv4Endpoint) {
    this.#system = bindSystem();
    this.#memory = new Memory(this.#system, 2 << 20);
    const serverAddress = this.#memory.take(ADDRESS);
    writeAddress(this.#memory, serverAddress, server);
    this.#in = new Area(this.#memory, BATCH, undefined);
    this.#out = new Area(this.#memory, OUTBOX, serverAddress);
    this.#row = this.#memory.take(OUTBOX * HEADER);
    this.#rowAddress = this.#memory.addressOf(this.#row);
    this.#events = this.#memory.take(BATCH * EVENT);
    this.#eventsAddress = this.#memory.addressOf(this.#events);
    this.#timeout = this.#memory.take(16);
    this.#timeoutAddress = this.#memory.addressOf(this.#timeout);
    const fds: number[] = [];
    this.#fds = fds;
    this.#epoll = this.#checked(this.#system.epollCreate(0x80000), 'Waiting for sockets');
    try {
      for (let index = 0; index < ports; index++) fds.push(this.#open(index));
    } catch (error) {
      this.close();
      throw error;
    }
    this.#waiting = fds.map(() => []);
  }

  /** Datagrams that the system would not take: it had no room for them. */
  get unsent(): number {
    return this.#unsent;
  }

  /** The port that a socket has. */
  portOf(socket: number): number {
    const { view } = this.#memory;
    const at = this.#memory.scratch(ADDRESS + 4);
    view.setUint32(at + ADDRESS, ADDRESS, true);
    const [address, length] = [this.#memory.addressOf(at), this.#memory.addressOf(at + ADDRESS)];
    this.#checked(this.#system.getsockname(this.#fds[socket]!, address, length), 'Asking a socket');
    return view.getUint16(at + 2);
  }

  /** Reads what is there, waiting for it up to `timeoutMs`. Returns how many datagrams there were. */
  receive(timeoutMs: number, receiver: Receiver): number {
    const { view } = this.#memory;
    view.setUint32(this.#timeout, Math.floor(timeoutMs / 1000), true);
    view.setUint32(this.#timeout + 8, Math.floor((timeoutMs % 1000) * 1e6), true);
    const ready = this.#system.epollWait(
      ...[this.#epoll, this.#eventsAddress, BATCH, this.#timeoutAddress, 0n],
    );
    if (ready < 0 && koffi.errno() !== constants.errno.EINTR) {
      throw new SocketFailure('Waiting for datagrams', koffi.errno());
    }
    let count = 0;
    for (let i = 0; i < ready; i++) {
      const socket = view.getUint32(this.#events + i * EVENT + AT_EVENT_DATA, true);
      count += this.#read(socket, receiver);
    }
    return count;
  }

  /** Leaves with the next {@link flush}, or before when there are many. */
  send(socket: number, local: Ipv4Address, bytes: Uint8Array): void {
    if (this.#queued === OUTBOX) this.flush();
    this.#out.put(this.#queued, local, bytes);
    this.#waiting[socket]!.push(this.#queued++);
  }

  flush(): void {
    if (this.#queued === 0) return;
    for (const [socket, places] of this.#waiting.entries()) {
      if (places.length === 0) continue;
      const { bytes } = this.#memory;
      for (const [index, place] of places.entries()) {
        const from = this.#out.headerAt(place);
        bytes.copyWithin(this.#row + index * HEADER, from, from + HEADER);
      }
      this.#write(this.#fds[socket]!, places.length);
      places.length = 0;
    }
    this.#queued = 0;
  }

  close(): void {
    for (const fd of [...this.#fds, this.#epoll]) this.#system.close(fd);
    this.#memory.free();
  }

  #read(socket: number, receiver: Receiver): number {
    const dontWait = 0x40;
    const fd = this.#fds[socket]!;
    const count = this.#system.recvmmsg(fd, this.#in.headers, BATCH, dontWait, 0n);
    // What ICMP says of datagrams that were sent comes as an error here, and is no news.
    if (count < 0) return 0;
    for (let i = 0; i < count; i++) {
      const local = this.#in.destinationOf(i);
      const bytes = this.#in.received(i);
      this.#in.prepare(i);
      receiver(socket, local, bytes);
    }
    return count;
  }

  #write(fd: number, count: number): void {
    let done = 0;
    let patience = 50;
    while (done < count) {
      const at = this.#rowAddress + BigInt(done * HEADER);
      const sent = this.#system.sendmmsg(fd, at, count - done, 0);
      if (sent >= 0) {
        done += sent;
        continue;
      }
      const errno = koffi.errno();
      const { EAGAIN, ENOBUFS, EINVAL, ENETUNREACH, EPERM } = constants.errno;
      if (errno === EAGAIN && patience-- > 0) {
        this.#system.poll(this.#pollable(fd), 1, 20);
      } else if ([EAGAIN, ENOBUFS, EPERM].includes(errno)) {
        // As on a wire: it is lost, and its sender will repeat it.
        this.#unsent++;
        done++;
      } else if (errno === EINVAL || errno === ENETUNREACH) {
        throw new SocketFailure('Sending from an address of --from', errno);
      } else {
        // The last datagram's refusal by ICMP, reported here; sending has not been tried.
        if (patience-- <= 0) throw new SocketFailure('Sending', errno);
      }
    }
  }

  /** struct pollfd, for one that has to become writable; the events' room is free at this time. */
  #pollable(fd: number): bigint {
    const { view } = this.#memory;
    view.setInt32(this.#events, fd, true);
    view.setInt32(this.#events + 4, 0x4, true);
    return this.#eventsAddress;
  }

  #open(index: number): number {
    const [inet, datagramNonBlockCloseOnExec] = [2, 0x80802];
    const fd = this.#checked(
      this.#system.socket(inet, datagramNonBlockCloseOnExec, 0),
      'Opening a socket',
    );
    const [levelIp, packetInfo] = [0, 8];
    this.#checked(this.#setOption(fd, levelIp, packetInfo, 1), 'Preparing a socket');
    // The forced kind needs CAP_NET_ADMIN; the other is cut down to the system's limit.
    const octets = Math.max(LEAST_BUFFER_OCTETS, BUFFER_OCTETS >> Math.min(5, index >> 2));
    for (const [forced, plain] of [
      [33, 8],
      [32, 7],
    ] as const) {
      if (this.#setOption(fd, 1, forced, octets) < 0) this.#setOption(fd, 1, plain, octets);
    }
    if (this.#bind(fd, FIRST_PORT + index) < 0)
      this.#checked(this.#bind(fd, 0), 'Binding a socket');
    const event = this.#memory.scratch(EVENT);
    this.#memory.view.setUint32(event, 1, true);
    this.#memory.view.setUint32(event + AT_EVENT_DATA, index, true);
    const [add, eventAddress] = [1, this.#memory.addressOf(event)];
    this.#checked(this.#system.epollControl(this.#epoll, add, fd, eventAddress), 'Watching');
    return fd;
  }

  /** Port 0: one that the system chooses. */
  #bind(fd: number, port: number): number {
    const at = this.#memory.scratch(ADDRESS);
    writeAddress(this.#memory, at, { address: 0, port });
    return this.#system.bind(fd, this.#memory.addressOf(at), ADDRESS);
  }

  #setOption(fd: number, level: number, option: number, value: number): number {
    const at = this.#memory.scratch(4);
    this.#memory.view.setInt32(at, value, true);
    return this.#system.setsockopt(fd, level, option, this.#memory.addressOf(at), 4);
  }

  #checked(result: number, step: string): number {
    if (result < 0) throw new SocketFailure(step, koffi.errno());
    return result;
  }
}

/** A number of datagrams with their headers, for one call that reads or writes them. */
class Area {
  readonly headers: bigint;
  readonly #memory: Memory;
  readonly #headers: number;
  readonly #controls: number;
  readonly #payloads: number;
  readonly #iovs: number;

  /** `peer`: where the address of the one they all go to is. */
  constructor(memory: Memory, count: number, peer: number | undefined) {
    this.#memory = memory;
    this.#headers = memory.take(count * HEADER);
    this.#iovs = memory.take(count * IOV);
    this.#controls = memory.take(count * CONTROL);
    this.#payloads = memory.take(count * DATAGRAM_OCTETS);
    this.headers = memory.addressOf(this.#headers);
    const { view } = memory;
    for (let i = 0; i < count; i++) {
      const header = this.headerAt(i);
      const control = this.#controls + i * CONTROL;
      const iov = this.#iovs + i * IOV;
      if (peer !== undefined) {
        view.setBigUint64(header + AT_NAME, memory.addressOf(peer), true);
        view.setUint32(header + AT_NAME_LENGTH, ADDRESS, true);
      }
      view.setBigUint64(iov, memory.addressOf(this.#payloads + i * DATAGRAM_OCTETS), true);
      view.setBigUint64(header + AT_IOV, memory.addressOf(iov), true);
      view.setUint32(header + AT_IOV_COUNT, 1, true);
      view.setBigUint64(header + AT_CONTROL, memory.addressOf(control), true);
      const [levelIp, packetInfo] = [0, 8];
      view.setUint32(control, CONTROL_LENGTH, true);
      view.setInt32(control + 8, levelIp, true);
      view.setInt32(control + 12, packetInfo, true);
      this.prepare(i);
    }
  }

  headerAt(index: number): number {
    return this.#headers + index * HEADER;
  }

  /** As it has to be before a call; reading changes it. */
  prepare(index: number): void {
    const { view } = this.#memory;
    view.setUint32(this.headerAt(index) + AT_CONTROL_LENGTH, CONTROL, true);
    view.setUint32(this.#iovs + index * IOV + 8, DATAGRAM_OCTETS, true);
  }

  put(index: number, local: Ipv4Address, bytes: Uint8Array): void {
    const { view } = this.#memory;
    this.#memory.bytes.set(bytes, this.#payloads + index * DATAGRAM_OCTETS);
    view.setUint32(this.#iovs + index * IOV + 8, bytes.length, true);
    view.setUint32(this.#controls + index * CONTROL + AT_OWN_ADDRESS, local);
  }

  destinationOf(index: number): Ipv4Address {
    return this.#memory.view.getUint32(this.#controls + index * CONTROL + AT_DESTINATION);
  }

  received(index: number): Uint8Array {
    const length = this.#memory.view.getUint32(this.headerAt(index) + AT_LENGTH, true);
    const start = this.#payloads + index * DATAGRAM_OCTETS;
    return this.#memory.bytes.subarray(start, start + length);
  }
}

/** Memory at an address that does not change, handed out from front to back. */
class Memory {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly #system: System;
  readonly #address: bigint;
  readonly #octets: number;
  readonly #scratch: number;
  #taken = 0;

  constructor(system: System, octets: number) {
    const [readWrite, privateAnonymous] = [3, 0x22];
    this.#system = system;
    this.#octets = octets;
    this.#address = BigInt(system.mmap(0n, octets, readWrite, privateAnonymous, -1, 0));
    if (this.#address === -1n) throw new SocketFailure('Taking memory', koffi.errno());
    const buffer = koffi.view(this.#address, octets);
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    this.#scratch = this.take(64);
  }

  take(octets: number): number {
    const at = this.#taken;
    this.#taken += Math.ceil(octets / 64) * 64;
    if (this.#taken > this.#octets) throw new RangeError('the sockets need more memory');
    return at;
  }

  /** For one call. */
  scratch(octets: number): number {
    if (octets > 64) throw new RangeError('too much for the scratch memory');
    return this.#scratch;
  }

  addressOf(at: number): bigint {
    return this.#address + BigInt(at);
  }

  /** Nothing may touch it afterwards. */
  free(): void {
    this.#system.munmap(this.#address, this.#octets);
  }
}

/** struct sockaddr_in. */
function writeAddress({ view }: Memory, at: number, { address, port }: Ipv4Endpoint): void {
  const inet = 2;
  view.setUint16(at, inet, true);
  view.setUint16(at + 2, port);
  view.setUint32(at + 4, address);
}

type System = ReturnType<typeof bindSystem>;

function bindSystem() {
  const libc = koffi.load('libc.so.6');
  const f = libc.func.bind(libc);
  return {
    socket: f('int socket(int domain, int type, int protocol)'),
    setsockopt: f('int setsockopt(int fd, int level, int name, uintptr_t value, uint32_t length)'),
    close: f('int close(int fd)'),
    getsockname: f('int getsockname(int fd, uintptr_t address, uintptr_t length)'),
    bind: f('int bind(int fd, uintptr_t address, uint32_t length)'),
    recvmmsg: f(
      'int recvmmsg(int fd, uintptr_t headers, uint32_t count, int flags, uintptr_t timeout)',
    ),
    sendmmsg: f('int sendmmsg(int fd, uintptr_t headers, uint32_t count, int flags)'),
    poll: f('int poll(uintptr_t fds, unsigned long count, int timeoutMs)'),
    epollCreate: f('int epoll_create1(int flags)'),
    epollControl: f('int epoll_ctl(int epoll, int operation, int fd, uintptr_t event)'),
    // Since Linux 5.11; milliseconds would be too coarse for thousands of logins a second.
    epollWait: f(
      'int epoll_pwait2(int epoll, uintptr_t events, int count, uintptr_t timeout, uintptr_t signals)',
    ),
    mmap: f(
      'intptr_t mmap(uintptr_t at, size_t length, int protection, int flags, int fd, long offset)',
    ),
    munmap: f('int munmap(uintptr_t at, size_t length)'),
  };
}
