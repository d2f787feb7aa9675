// The client's end of a tunnel: a TUN device whose packets the kernel programs carry to and from the
// server, and the addresses and routes that make it the way to IPv6, or to IPv4. Everything but routes
// on other interfaces vanishes with the process. It must not know TSP.

import { closeSync } from 'node:fs';
import { join } from 'node:path';
import {
  formatIp,
  type IpAddress,
  type Ipv4Address,
  type Ipv4Endpoint,
  type Ipv6Address,
  type Ipv6Prefix,
  prefixAt,
} from '../address.ts';
import type { Encapsulation } from './contract.ts';
import { CLIENT_SIZE, type ClientLayout, readClient, writeClient } from './layout.gen.ts';
import {
  attachTcx,
  type LoadedObject,
  loadObject,
  mapMemory,
  openIcmp,
  openTun,
  sendIcmp,
} from './native.ts';
import {
  addAddress,
  addTunnelRoute,
  addUnreachableRoute,
  bringUp,
  enableForwarding,
  findInterface,
  hasRoutingRules,
  removeAddress,
  removeUnreachableRoute,
  uplinkTowards,
} from './network.ts';
import { addAddress4, addDefaultRoute4, answerRoutesFor } from './network4.ts';
import { endpointValue, routeFlagsOf, tickToUnixMs } from './records.ts';

interface AnyDeviceOptions {
  /** Name of the device, such as `tb6`; must not exist. */
  readonly name: string;
  readonly mtu: number;
  /** Of the default route by way of the tunnel; absent: no default route. */
  readonly defaultRouteMetric?: number;
}

/** For IPv6 over IPv4. */
export interface Ipv6DeviceOptions extends AnyDeviceOptions {
  readonly encapsulation: Encapsulation;
  /** `port` is 0 for v6v4. */
  readonly server: Ipv4Endpoint;
  /** This end, as the kernel sees it (behind a NAT: the private address); `port` as above. The UDP
   * port should be bound by whoever speaks TSP on it. */
  readonly local: Ipv4Endpoint;
  /** The client's address in its link. */
  readonly address: Ipv6Address;
  readonly delegated?: {
    readonly prefix: Ipv6Prefix;
    /** Gets ::1 of the prefix's first /64; absent: the whole prefix is unreachable from here. */
    readonly lanInterface?: string;
  };
}

/** For IPv4 over IPv6 (RFC 2473). */
export interface Ipv4DeviceOptions extends AnyDeviceOptions {
  readonly encapsulation: 'v4v6';
  readonly server: Ipv6Address;
  /** This end, as the server knows it. */
  readonly local: Ipv6Address;
  /** Inside the tunnel: the client's address, and the server's, which answers keepalives. */
  readonly address: Ipv4Address;
  readonly gateway: Ipv4Address;
}

export type TunnelDeviceOptions = Ipv6DeviceOptions | Ipv4DeviceOptions;

export interface TunnelDeviceCounters {
  readonly inPackets: bigint;
  readonly inBytes: bigint;
  readonly outPackets: bigint;
  readonly outBytes: bigint;
  /** Came from the server but was not for here, or could not be sent. */
  readonly droppedPackets: bigint;
}

const OBJECT_PATH = join(import.meta.dirname, '../../build/client.bpf.o');
const ICMP_ECHO_REQUEST = 8;
const ICMPV6_ECHO_REQUEST = 128;
/** What common clients send; some servers expect as much. */
const ECHO_PAYLOAD_OCTETS = 16;

export class TunnelDevice {
  /** What was done, in plain words. */
  readonly actions: readonly string[];
  readonly #memory: { view: DataView<ArrayBuffer>; unmap(): void };
  readonly #undo: (() => void)[];
  readonly #socket: number;
  #closed = false;

  private constructor(
    memory: { view: DataView<ArrayBuffer>; unmap(): void },
    socket: number,
    undo: (() => void)[],
    actions: string[],
  ) {
    this.#memory = memory;
    this.#socket = socket;
    this.#undo = undo;
    this.actions = actions;
  }

  /** Throws KernelError or Error, having taken back whatever was done. */
  static open(options: TunnelDeviceOptions): TunnelDevice {
    const { name, mtu } = options;
    const server = options.encapsulation === 'v4v6' ? options.server : options.server.address;
    const undo: (() => void)[] = [];
    const actions: string[] = [];
    try {
      const uplinkName = uplinkTowards(server);
      const uplink = uplinkName === undefined ? undefined : findInterface(uplinkName);
      if (uplinkName === undefined || !uplink)
        throw new Error(`There is no route to ${formatIp(server)}`);
      if (findInterface(name)) throw new Error(`Interface ${name} exists already`);

      const tun = openTun(name, false);
      undo.push(() => closeSync(tun));
      bringUp(name, mtu);
      const device = findInterface(name);
      if (!device) throw new Error(`Device ${name} went away`);

      const object = loadObject(OBJECT_PATH, {});
      undo.push(() => object.close());
      const memory = writeSettings(object, {
        ...endsOf(options),
        uplinkIfindex: uplink.index,
        uplinkHeaderLength: uplink.headerLength,
        tunnelIfindex: device.index,
        tunnelHeaderLength: device.headerLength,
        routeFlags: routeFlagsOf(hasRoutingRules()),
      });
      undo.push(() => memory.unmap());
      for (const [direction, index] of [
        ['egress', device.index],
        ['ingress', uplink.index],
      ] as const) {
        const program = object.programFd(programName(direction, options));
        const link = attachTcx(program, index, direction);
        undo.push(() => closeSync(link));
      }
      actions.push(`tunnel ${name} to ${formatIp(server)} through ${uplinkName}`);

      if (options.encapsulation === 'v4v6') setUpIpv4(options, actions);
      else setUpIpv6(options, undo, actions);
      const socket = openIcmp(options.address);
      undo.push(() => closeSync(socket));
      return new TunnelDevice(memory, socket, undo, actions);
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
  }

  /** Sends an echo request (RFC 4443, 4.1; RFC 792) to an address of the family that the tunnel
   * carries. Whether it got lost shows in what comes in. */
  sendEcho(to: IpAddress, identifier: number, sequence: number): void {
    const message = new Uint8Array(8 + ECHO_PAYLOAD_OCTETS);
    const view = new DataView(message.buffer);
    view.setUint16(4, identifier & 0xffff);
    view.setUint16(6, sequence & 0xffff);
    if (typeof to === 'number') {
      view.setUint8(0, ICMP_ECHO_REQUEST);
      view.setUint16(2, checksumOf(view));
    } else {
      view.setUint8(0, ICMPV6_ECHO_REQUEST);
    }
    sendIcmp(this.#socket, to, message);
  }

  /** Packets that came from the server: while this grows, the tunnel lives. */
  inPackets(): bigint {
    return this.counters().inPackets;
  }

  /** Unix milliseconds; undefined: nothing came in yet. */
  inLastSeenMs(): number | undefined {
    const { inLastSeen } = this.#read();
    if (inLastSeen === 0) return undefined;
    return tickToUnixMs(inLastSeen, Date.now(), Number(process.hrtime.bigint()) / 1e6);
  }

  counters(): TunnelDeviceCounters {
    const { inPackets, inBytes, outPackets, outBytes, droppedPackets } = this.#read();
    return { inPackets, inBytes, outPackets, outBytes, droppedPackets };
  }

  /** The device goes, and with it its address and routes. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const step of this.#undo.reverse()) step();
  }

  #read(): ClientLayout {
    if (this.#closed) throw new Error('This tunnel device has been closed');
    return readClient(this.#memory.view, 0);
  }
}

/** Who is at either end, as the programs want it; ports and addresses of the other kind are 0. */
function endsOf(
  options: TunnelDeviceOptions,
): Pick<
  ClientLayout,
  | 'server'
  | 'localAddress'
  | 'localPort'
  | 'server6High'
  | 'server6Low'
  | 'local6High'
  | 'local6Low'
> {
  const isIpv4 = options.encapsulation === 'v4v6';
  const [server6, local6] = isIpv4 ? [options.server, options.local] : [0n, 0n];
  return {
    server: isIpv4 ? 0n : endpointValue(options.encapsulation, options.server),
    localAddress: isIpv4 ? 0 : options.local.address,
    localPort: isIpv4 ? 0 : options.local.port,
    server6High: server6 >> 64n,
    server6Low: BigInt.asUintN(64, server6),
    local6High: local6 >> 64n,
    local6Low: BigInt.asUintN(64, local6),
  };
}

function programName(direction: 'ingress' | 'egress', options: TunnelDeviceOptions): string {
  return `client_${direction}${options.encapsulation === 'v4v6' ? '_v4v6' : ''}`;
}

function setUpIpv6(options: Ipv6DeviceOptions, undo: (() => void)[], actions: string[]): void {
  const { name, address, defaultRouteMetric, delegated } = options;
  answerRoutesFor(name);
  addAddress(name, { address, length: 128 });
  if (defaultRouteMetric !== undefined) {
    addTunnelRoute(name, { address: 0n, length: 0 }, defaultRouteMetric);
    actions.push(`default route for IPv6 through ${name}`);
  }
  if (!delegated) return;
  setUpDelegation(delegated.prefix, delegated.lanInterface, undo, actions);
  actions.push(...enableForwarding());
}

function setUpIpv4(options: Ipv4DeviceOptions, actions: string[]): void {
  const { name, address, gateway, defaultRouteMetric } = options;
  addAddress4(name, address, gateway);
  if (defaultRouteMetric === undefined) return;
  addDefaultRoute4(name, defaultRouteMetric);
  actions.push(`default route for IPv4 through ${name}`);
}

/** RFC 1071, over an even number of octets. */
function checksumOf(view: DataView): number {
  let sum = 0;
  for (let at = 0; at < view.byteLength; at += 2) sum += view.getUint16(at);
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~(sum + (sum >>> 16)) & 0xffff;
}

function writeSettings(
  object: LoadedObject,
  settings: Omit<ClientLayout, keyof typeof NOTHING_COUNTED>,
): { view: DataView<ArrayBuffer>; unmap(): void } {
  const { buffer, unmap } = mapMemory(object.mapFd('client'), CLIENT_SIZE);
  const view = new DataView(buffer);
  writeClient(view, 0, { ...NOTHING_COUNTED, ...settings });
  return { view, unmap };
}

const NOTHING_COUNTED = {
  inPackets: 0n,
  inBytes: 0n,
  outPackets: 0n,
  outBytes: 0n,
  droppedPackets: 0n,
  inLastSeen: 0,
} as const;

function setUpDelegation(
  prefix: Ipv6Prefix,
  lanInterface: string | undefined,
  undo: (() => void)[],
  actions: string[],
): void {
  // Without it, packets to parts of the prefix that are not in use would go back into the tunnel.
  addUnreachableRoute(prefix);
  undo.push(() => ignoreFailure(() => removeUnreachableRoute(prefix)));
  if (lanInterface === undefined) return;
  const lan = prefixAt(prefix, 64, 0);
  const own = { address: lan.address | 1n, length: 64 };
  addAddress(lanInterface, own);
  undo.push(() => ignoreFailure(() => removeAddress(lanInterface, own)));
  actions.push(`first /64 of the delegated prefix on ${lanInterface}`);
}

/** For taking back what somebody else may have taken back already. */
function ignoreFailure(step: () => void): void {
  try {
    step();
  } catch {
    // Gone is what it was to be.
  }
}
