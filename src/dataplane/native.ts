// The product's foreign functions: libbpf, and the few system calls for which Node has no door (mmap
// of maps, mounting bpffs, TUN devices, raw ICMP). Thin on purpose: file descriptors in, file
// descriptors out, a KernelError when the kernel says no. It must not know what the maps mean.

import { closeSync, existsSync, constants as fsConstants, openSync } from 'node:fs';
import { constants } from 'node:os';
import { getSystemErrorMessage } from 'node:util';
import koffi from 'koffi';
import type { IpAddress } from '../address.ts';

/** The kernel, or libbpf, refused. The message says at which step, why, and what may help. */
export class KernelError extends Error {
  /** As in `os.constants.errno`, such as `EPERM`. */
  readonly code: string;

  constructor(step: string, errno: number, hint?: string) {
    const code = errnoName(errno);
    super(`${step}: ${getSystemErrorMessage(-errno)} (${code})${hint ? `. ${hint}` : ''}`);
    this.name = 'KernelError';
    this.code = code;
  }
}

export interface MapInfo {
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
}

/** A map of an object about to be loaded: an existing one to use instead, or a size to give it. */
export interface MapChoice {
  readonly reuseFd?: number;
  readonly maxEntries?: number;
}

/** Programs and maps of one object file in the kernel. Its descriptors live until `close`. */
export interface LoadedObject {
  mapFd(name: string): number;
  programFd(name: string): number;
  close(): void;
}

/** Throws {@link KernelError}, with what libbpf and the verifier had to say. */
export function loadObject(path: string, choices: Record<string, MapChoice>): LoadedObject {
  const { bpf, log } = libraries();
  log.length = 0;
  if (!existsSync(path)) throw new Error(`${path} is missing: tools/build-bpf.sh builds it`);
  const fail = (step: string): never => {
    throw new KernelError(step, koffi.errno(), permissionHint() + log.join(' '));
  };
  const object: unknown = bpf.openFile(path, null);
  if (!object) return fail(`Opening ${path}`);
  const find = (name: string): unknown =>
    bpf.findMap(object, name) ?? fail(`Finding map ${name} in ${path}`);
  try {
    for (const [name, { reuseFd, maxEntries }] of Object.entries(choices)) {
      if (reuseFd !== undefined && bpf.reuseFd(find(name), reuseFd) < 0)
        fail(`Reusing map ${name}`);
      if (maxEntries !== undefined && bpf.setMaxEntries(find(name), maxEntries) < 0)
        fail(`Sizing map ${name}`);
    }
    if (bpf.loadObject(object) < 0) fail(`Loading ${path}`);
  } catch (error) {
    bpf.closeObject(object);
    throw error;
  }
  return {
    mapFd: (name) => bpf.mapFd(find(name)),
    programFd: (name) =>
      bpf.programFd(bpf.findProgram(object, name) ?? fail(`Finding program ${name} in ${path}`)),
    close: () => bpf.closeObject(object),
  };
}

/** The map, program or link pinned at `path`; undefined when there is none. */
export function openPinned(path: string): number | undefined {
  const fd = libraries().bpf.objGet(path);
  if (fd === -constants.errno.ENOENT) return undefined;
  return checked(fd, `Opening ${path}`);
}

export function pin(fd: number, path: string): void {
  checked(libraries().bpf.objPin(fd, path), `Pinning ${path}`);
}

export function mapInfo(fd: number): MapInfo {
  const info = objectInfo(fd);
  return {
    keySize: info.getUint32(8, true),
    valueSize: info.getUint32(12, true),
    maxEntries: info.getUint32(16, true),
  };
}

/** The interface that a link of tcx or XDP is attached to; 0 when that interface is gone. */
export function linkInterface(fd: number): number {
  return objectInfo(fd).getUint32(16, true);
}

export function updateMapElement(fd: number, key: number, value: Uint8Array): void {
  checked(libraries().bpf.updateElement(fd, Uint32Array.of(key), value, 0n), 'Writing a map');
}

/** Fills `value`, whose length must be what the map gives: for per-CPU maps that of all CPUs. */
export function readMapElement(fd: number, key: number, value: Uint8Array): void {
  checked(libraries().bpf.lookupElement(fd, Uint32Array.of(key), value), 'Reading a map');
}

/** All values of an array, one after the other. */
export function readArrayMap(fd: number, entries: number, octets: number): DataView<ArrayBuffer> {
  const [values, keys] = [new Uint8Array(entries * octets), new Uint32Array(entries)];
  const [batch, count] = [new Uint32Array(1), Uint32Array.of(entries)];
  const result = libraries().bpf.lookupBatch(fd, null, batch, keys, values, count, null);
  // It also says so when the last one was read.
  if (result !== -constants.errno.ENOENT) checked(result, 'Reading a map');
  return new DataView(values.buffer, 0, (count[0] ?? 0) * octets);
}

/** As {@link readMapElement}, of a hash; false: there is no such key. */
export function findMapElement(fd: number, key: number, value: Uint8Array): boolean {
  const result = libraries().bpf.lookupElement(fd, Uint32Array.of(key), value);
  return result !== -constants.errno.ENOENT && checked(result, 'Reading a map') === 0;
}

/** Nothing happens when there is no such key. */
export function deleteMapElement(fd: number, key: number): void {
  const result = libraries().bpf.deleteElement(fd, Uint32Array.of(key));
  if (result !== -constants.errno.ENOENT) checked(result, 'Deleting from a map');
}

export function possibleCpuCount(): number {
  return checked(libraries().bpf.possibleCpus(), 'Counting CPUs');
}

/** Memory shared with the kernel. After `unmap` the buffer must not be touched: there is nothing. */
export function mapMemory(fd: number, octets: number): { buffer: ArrayBuffer; unmap(): void } {
  const { libc } = libraries();
  const readWrite = 3;
  const shared = 1;
  const pageSize = 4096;
  const length = Math.ceil(octets / pageSize) * pageSize;
  const address: bigint = BigInt(libc.mmap(0n, length, readWrite, shared, fd, 0));
  if (address === -1n) throw new KernelError('Mapping a map', koffi.errno());
  return {
    buffer: koffi.view(address, octets),
    unmap: () => void libc.munmap(address, length),
  };
}

/** Attaches a program to an interface for as long as the descriptor, or a pin of it, lives. */
export function attachTcx(
  programFd: number,
  interfaceIndex: number,
  direction: 'ingress' | 'egress',
): number {
  const attachType = direction === 'ingress' ? 46 : 47;
  return checked(
    libraries().bpf.linkCreate(programFd, interfaceIndex, attachType, null),
    `Attaching to ${direction} of interface ${interfaceIndex}`,
    'This needs Linux 6.6 or later (tcx).',
  );
}

/**
 * Attaches an XDP program by way of the interface's driver, as {@link attachTcx} does. undefined: the
 * driver has no XDP, or not as the interface is set up (a large MTU, say), or another program has it.
 */
export function attachXdp(programFd: number, interfaceIndex: number): number | undefined {
  const [xdp, driverMode] = [37, 1n << 2n];
  const options = BigUint64Array.of(16n, driverMode); // struct bpf_link_create_opts: size, flags
  const fd = libraries().bpf.linkCreate(programFd, interfaceIndex, xdp, options);
  const { EOPNOTSUPP, EINVAL, ERANGE, E2BIG, EBUSY, EEXIST } = constants.errno;
  if ([EOPNOTSUPP, EINVAL, ERANGE, E2BIG, EBUSY, EEXIST].includes(-fd)) return undefined;
  return checked(fd, `Attaching XDP to interface ${interfaceIndex}`);
}

/** Replaces a link's program without a packet passing in between. */
export function updateLink(linkFd: number, programFd: number): void {
  checked(libraries().bpf.linkUpdate(linkFd, programFd, null), 'Replacing a program');
}

export interface TestRunResult {
  /** What the program returned. */
  readonly verdict: number;
  readonly packet: Uint8Array;
}

/** Runs a tc program once over a packet (with its link layer), as the kernel would for a real one. */
export function testRun(
  programFd: number,
  packet: Uint8Array,
  context: { gsoSize?: number; gsoSegments?: number } = {},
): TestRunResult {
  // struct __sk_buff: gso_segs at 164, gso_size at 176.
  const skb = new Uint8Array(192);
  const skbView = new DataView(skb.buffer);
  skbView.setUint32(164, context.gsoSegments ?? 0, true);
  skbView.setUint32(176, context.gsoSize ?? 0, true);
  return runOnce(programFd, packet, skb);
}

/** The same for XDP. `ifindex`: of the interface that it came in by, which has to be up. */
export function testRunXdp(programFd: number, packet: Uint8Array, ifindex: number): TestRunResult {
  // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
  const context = Uint32Array.of(0, packet.length, 0, ifindex, 0, 0);
  return runOnce(programFd, packet, new Uint8Array(context.buffer));
}

function runOnce(programFd: number, packet: Uint8Array, context: Uint8Array): TestRunResult {
  const out = new Uint8Array(packet.length + 2048);
  const options = {
    sz: koffi.sizeof('sixway_test_run_opts'),
    data_in: packet,
    data_out: out,
    data_size_in: packet.length,
    data_size_out: out.length,
    ctx_in: context,
    ctx_out: null,
    ctx_size_in: context.length,
    ctx_size_out: 0,
    retval: 0,
    repeat: 1,
    duration: 0,
    flags: 0,
    cpu: 0,
    batch_size: 0,
  };
  checked(libraries().bpf.testRun(programFd, options), 'Running a program over a packet');
  return { verdict: options.retval, packet: out.subarray(0, options.data_size_out) };
}

export function mountBpf(path: string): void {
  const result = libraries().libc.mount('bpf', path, 'bpf', 0, 'mode=0700');
  if (result < 0) throw new KernelError(`Mounting bpffs at ${path}`, koffi.errno());
}

/**
 * A TUN device (layer 3, no packet information) of that name, created unless it exists. It lives as
 * long as the descriptor, or for good when `persistent`. Segmentation and checksums are left to the
 * device that the packets finally go out of.
 */
export function openTun(name: string, persistent: boolean): number {
  const { libc } = libraries();
  const fd = openSync('/dev/net/tun', fsConstants.O_RDWR);
  const request = new Uint8Array(40);
  new TextEncoder().encodeInto(name, request.subarray(0, 15));
  const [tunWithoutPacketInformation, checksumTso4Tso6Ecn] = [0x1001, 0x0f];
  new DataView(request.buffer).setUint16(16, tunWithoutPacketInformation, true);
  const steps: [string, number, Uint8Array | bigint][] = [
    ['Creating', 0x400454ca, request],
    ['Setting the offloads of', 0x400454d0, BigInt(checksumTso4Tso6Ecn)],
    ['Making persistent', 0x400454cb, persistent ? 1n : 0n],
  ];
  for (const [step, command, argument] of steps) {
    const result =
      typeof argument === 'bigint'
        ? libc.ioctlValue(fd, command, argument)
        : libc.ioctl(fd, command, argument);
    if (result >= 0) continue;
    const errno = koffi.errno();
    closeSync(fd);
    throw new KernelError(`${step} TUN device ${name}`, errno, permissionHint());
  }
  return fd;
}

/** A raw ICMP or ICMPv6 socket that sends from `source` and receives nothing. */
export function openIcmp(source: IpAddress): number {
  const { libc } = libraries();
  const [inet, inet6, rawCloseOnExec, icmp, icmpv6, rawLevel, filterOption] = [
    2, 10, 0x80003, 1, 58, 255, 1,
  ];
  const isIpv4 = typeof source === 'number';
  const fd: number = libc.socket(isIpv4 ? inet : inet6, rawCloseOnExec, isIpv4 ? icmp : icmpv6);
  if (fd < 0) throw new KernelError('Opening an ICMP socket', koffi.errno(), permissionHint());
  const blockAll = new Uint8Array(isIpv4 ? 4 : 32).fill(0xff);
  const level = isIpv4 ? rawLevel : icmpv6;
  const address = socketAddress(source);
  if (
    libc.setsockopt(fd, level, filterOption, blockAll, blockAll.length) < 0 ||
    libc.bind(fd, address, address.length) < 0
  ) {
    const errno = koffi.errno();
    closeSync(fd);
    throw new KernelError('Preparing an ICMP socket', errno);
  }
  return fd;
}

/** `message` is from the type on; of ICMPv6 the kernel fills in the checksum. Returns 0 or an errno. */
export function sendIcmp(fd: number, destination: IpAddress, message: Uint8Array): number {
  const address = socketAddress(destination);
  const sent = libraries().libc.sendto(fd, message, message.length, 0, address, address.length);
  return sent < 0 ? koffi.errno() : 0;
}

export function close(fd: number): void {
  closeSync(fd);
}

/** struct sockaddr_in: family, port, address; struct sockaddr_in6: family, port, flow, address, scope. */
function socketAddress(address: IpAddress): Uint8Array {
  if (typeof address === 'number') {
    const bytes = new Uint8Array(16);
    new Uint16Array(bytes.buffer)[0] = 2;
    new DataView(bytes.buffer).setUint32(4, address);
    return bytes;
  }
  const bytes = new Uint8Array(28);
  const view = new DataView(bytes.buffer);
  new Uint16Array(bytes.buffer)[0] = 10;
  view.setBigUint64(8, address >> 64n);
  view.setBigUint64(16, BigInt.asUintN(64, address));
  return bytes;
}

/** struct bpf_map_info or bpf_link_info, as the kernel fills it in. */
function objectInfo(fd: number): DataView {
  const info = new Uint8Array(128);
  const result = libraries().bpf.objInfo(fd, info, Uint32Array.of(info.length));
  checked(result, 'Asking about a map or link');
  return new DataView(info.buffer);
}

function checked(result: number, step: string, hint = ''): number {
  if (result < 0) throw new KernelError(step, -result, permissionHint() + hint);
  return result;
}

function permissionHint(): string {
  return process.getuid?.() === 0 ? '' : 'This needs root, or CAP_BPF and CAP_NET_ADMIN. ';
}

function errnoName(errno: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === errno);
  return found?.[0] ?? `errno ${errno}`;
}

// Bound at first use, so that parts of the program which need no kernel run without libbpf.
let bound: ReturnType<typeof bind> | undefined;

function libraries(): ReturnType<typeof bind> {
  bound ??= bind();
  return bound;
}

function bind() {
  const libc = koffi.load('libc.so.6');
  const libbpf = koffi.load('libbpf.so.1');
  koffi.struct('sixway_test_run_opts', {
    sz: 'size_t',
    data_in: 'void *',
    data_out: 'void *',
    data_size_in: 'uint32_t',
    data_size_out: 'uint32_t',
    ctx_in: 'void *',
    ctx_out: 'void *',
    ctx_size_in: 'uint32_t',
    ctx_size_out: 'uint32_t',
    retval: 'uint32_t',
    repeat: 'int',
    duration: 'uint32_t',
    flags: 'uint32_t',
    cpu: 'uint32_t',
    batch_size: 'uint32_t',
  });
  const f = libbpf.func.bind(libbpf);
  const c = libc.func.bind(libc);
  const bpf = {
    setPrint: f('void *libbpf_set_print(void *callback)'),
    openFile: f('void *bpf_object__open_file(const char *path, const void *options)'),
    loadObject: f('int bpf_object__load(void *object)'),
    closeObject: f('void bpf_object__close(void *object)'),
    findMap: f('void *bpf_object__find_map_by_name(void *object, const char *name)'),
    findProgram: f('void *bpf_object__find_program_by_name(void *object, const char *name)'),
    reuseFd: f('int bpf_map__reuse_fd(void *map, int fd)'),
    setMaxEntries: f('int bpf_map__set_max_entries(void *map, uint32_t entries)'),
    mapFd: f('int bpf_map__fd(void *map)'),
    programFd: f('int bpf_program__fd(void *program)'),
    objGet: f('int bpf_obj_get(const char *path)'),
    objPin: f('int bpf_obj_pin(int fd, const char *path)'),
    objInfo: f('int bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *length)'),
    updateElement: f('int bpf_map_update_elem(int fd, void *key, void *value, uint64_t flags)'),
    lookupElement: f('int bpf_map_lookup_elem(int fd, void *key, void *value)'),
    lookupBatch: f(
      'int bpf_map_lookup_batch(int fd, void *from, void *next, void *keys, void *values, void *count, void *options)',
    ),
    deleteElement: f('int bpf_map_delete_elem(int fd, void *key)'),
    linkCreate: f('int bpf_link_create(int program, int target, int type, void *options)'),
    linkUpdate: f('int bpf_link_update(int link, int program, const void *options)'),
    testRun: f('int bpf_prog_test_run_opts(int program, _Inout_ sixway_test_run_opts *options)'),
    possibleCpus: f('int libbpf_num_possible_cpus()'),
  };
  const system = {
    mmap: c(
      'intptr_t mmap(uintptr_t at, size_t length, int protection, int flags, int fd, long offset)',
    ),
    munmap: c('int munmap(uintptr_t at, size_t length)'),
    mount: c(
      'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
    ),
    ioctl: c('ioctl', 'int', ['int', 'unsigned long', 'void *']),
    ioctlValue: c('ioctl', 'int', ['int', 'unsigned long', 'uintptr_t']),
    socket: c('int socket(int domain, int type, int protocol)'),
    setsockopt: c('int setsockopt(int fd, int level, int name, void *value, uint32_t length)'),
    bind: c('int bind(int fd, void *address, uint32_t length)'),
    sendto: c(
      'long sendto(int fd, void *data, size_t length, int flags, void *address, uint32_t addressLength)',
    ),
    vsnprintf: c('int vsnprintf(void *buffer, size_t size, void *format, void *arguments)'),
  };
  return { bpf, libc: system, log: captureLog(bpf, system.vsnprintf) };
}

/** Keeps the last lines of what libbpf would print as warnings; printing is off from then on. */
function captureLog(
  libbpf: { setPrint: (callback: unknown) => unknown },
  vsnprintf: (...values: unknown[]) => number,
): string[] {
  const lines: string[] = [];
  // The verifier's log may be a megabyte; why it gave up stands at the end.
  const buffer = Buffer.alloc(1 << 20);
  const print = (level: number, format: unknown, values: unknown) => {
    if (level > 0) return 0;
    const length = Math.min(vsnprintf(buffer, buffer.length, format, values), buffer.length);
    lines.push(...buffer.toString('utf8', 0, length).trim().split('\n').slice(-8));
    lines.splice(0, lines.length - 16);
    return 0;
  };
  const type = koffi.pointer(koffi.proto('int (int level, void *format, void *arguments)'));
  libbpf.setPrint(koffi.register(print, type));
  return lines;
}
