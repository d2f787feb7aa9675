// The server's data plane: the kernel's maps as a cache of the store, the programs that read them,
// and the device and routes that lead packets to them. Everything is pinned, so traffic flows on
// without this process. It must not know users, leases, policies or the store.

import { randomBytes } from 'node:crypto';
import { closeSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { formatIpv4, formatIpv6 } from '../address.ts';
import {
  type AnyPoolMapping,
  type Attachment,
  type AttachmentV4v6,
  type AttachOptions,
  type Capacity,
  type DesiredState,
  ERRORS_PER_SECOND,
  FILTERED_PORTS,
  type ForwardingMode,
  type Ipv4PoolMapping,
  type OutcomeCount,
  type PoolMapping,
  type ProgramSettings,
  SIGNALLING_LIMITS,
  type Standing,
  type Stray,
  type StrayAt,
  type TunnelCounters,
  type TunnelFaults,
} from './contract.ts';
import { DesiredMaps } from './desired.ts';
import { ensureTunnelDevice, requireUplink } from './devices.ts';
import {
  CONFIG_SIZE,
  type ConfigLayout,
  FILTERED_PORTS as FILTERED_PORT_COUNT,
  LAYOUT_VERSION,
  MAX_POOLS,
  OUTCOME_COUNT_SIZE,
  OUTCOME_NAMES,
  OWNERS_PER_BLOCK,
  POOL_NONE,
  POOL_OFFSET,
  POOL_SIZE,
  readConfig,
  readOutcomeCount,
  readPool,
  readStray,
  STRAY_SIZE,
  writeConfig,
  writePool,
} from './layout.gen.ts';
import {
  attachTcx,
  attachXdp,
  type LoadedObject,
  linkInterface,
  mapInfo,
  mapMemory,
  openPinned,
  possibleCpuCount,
  readMapElement,
  updateLink,
  updateMapElement,
} from './native.ts';
import {
  deleteInterface,
  enableForwarding,
  findInterface,
  hasRoutingRules,
  type InterfaceState,
} from './network.ts';
import { answerRoutesFor, removeMasquerade } from './network4.ts';
import {
  adoptMaps,
  loadOverMaps,
  MAP_NAMES,
  type MapDescriptors,
  OWNER_SIZE,
  pinOver,
  preparePinDirectory,
  removePins,
} from './pinned-maps.ts';
import {
  checkPools,
  costsOf,
  endpointValue,
  monotonicNowMs,
  poolLayoutOf,
  poolMappingOf,
  routeFlagsOf,
  SMALLEST_MTU,
  samePool,
  strayOf,
  strayPlace,
} from './records.ts';
import { readStrays } from './strays.ts';
import type { Standings } from './traffic-reader.ts';
import { TunnelRecords } from './tunnel-records.ts';
import { syncTunnelRoutes, type TunnelRoutesOptions } from './tunnel-routes.ts';
import { V4v6Records } from './v4v6-records.ts';

export type * from './contract.ts';
export { FILTERED_PORTS, SIGNALLING_LIMITS } from './contract.ts';
export type { FaultName, OutcomeName } from './layout.gen.ts';

/** IPv4 and UDP: what a tunnel adds to an IPv6 packet at most. */
const OVERHEAD = 28;
const ETHERNET_HEADER = 14;
/** IPv6: what a tunnel adds to an IPv4 packet. */
const OVERHEAD_V4V6 = 40;
/** The second ingress is there when the IPv6 side has an interface of its own; XDP where drivers have
 * it, and on the IPv6 side in fast mode. */
const LINK_PINS = {
  ingress: 'ingress_link',
  ingress6: 'ingress6_link',
  egress: 'egress_link',
  xdp: 'xdp_link',
  xdp6: 'xdp6_link',
} as const;
const OBJECT_PATH = join(import.meta.dirname, '../../build/tunnel.bpf.o');

/** Of the packets inside. */
export type Family = 'ipv6' | 'ipv4';
export type ProgramName = 'tunnel_ingress' | 'tunnel_egress' | 'tunnel_strip' | 'tunnel_forward';

interface SharedMemory {
  readonly tunnels: TunnelRecords;
  readonly owners: Uint32Array<ArrayBuffer>;
  readonly v4v6: V4v6Records;
  unmap(): void;
}

/**
 * Descriptors, memory and the little that is remembered of the maps. Slots and indices out of range,
 * and attachments that cannot be, throw RangeError; a kernel that refuses throws KernelError.
 */
export class Dataplane {
  /** Perhaps a little more than was asked for. */
  readonly capacity: Required<Capacity>;
  readonly #pinDirectory: string;
  readonly #object: LoadedObject | undefined;
  readonly #maps: MapDescriptors;
  #memory: SharedMemory | undefined;
  #config: ConfigLayout;
  /** By entry of the `pools` map; the same length throughout. */
  readonly #pools: (AnyPoolMapping | undefined)[];
  /** Once attached by this instance. */
  #routes: TunnelRoutesOptions | undefined;

  private constructor(pinDirectory: string, maps: MapDescriptors, object?: LoadedObject) {
    this.#pinDirectory = pinDirectory;
    this.#object = object;
    this.#maps = maps;
    this.capacity = {
      tunnels: mapInfo(maps.tunnels).maxEntries,
      owners: mapInfo(maps.owners).maxEntries * OWNERS_PER_BLOCK,
      v4v6: mapInfo(maps.tunnels_v4v6).maxEntries,
      limited: mapInfo(maps.rates).maxEntries,
    };
    this.#memory = shareMemory(maps, this.capacity);
    this.#config = readConfig(readElement(maps.config, 0, CONFIG_SIZE), 0);
    this.#pools = Array.from({ length: MAX_POOLS }, (_, key) =>
      poolMappingOf(readPool(readElement(maps.pools, key, POOL_SIZE), 0)),
    );
  }

  /**
   * Adopts the maps pinned in `pinDirectory`, or creates and pins them, and loads the programs.
   * Touches no network device. Mounts bpffs when needed.
   */
  static open(options: { pinDirectory: string; capacity: Capacity }): Dataplane {
    const { pinDirectory, capacity } = options;
    preparePinDirectory(pinDirectory);
    const { object, maps } = loadOverMaps(OBJECT_PATH, pinDirectory, capacity);
    return new Dataplane(pinDirectory, maps, object);
  }

  /** Adopts pinned maps only, for looking at them; undefined when there are none of this layout. */
  static read(pinDirectory: string): Dataplane | undefined {
    const maps = adoptMaps(pinDirectory);
    return maps && new Dataplane(pinDirectory, maps);
  }

  /** Takes everything away: links (traffic stops), maps, masquerading, the device with its routes. In
   * words. */
  static uninstall(pinDirectory: string, device: string): string[] {
    const pins = [...Object.values(LINK_PINS), ...MAP_NAMES];
    const actions = removePins(pinDirectory, pins).map((path) => `removed ${path}`);
    try {
      rmdirSync(pinDirectory);
    } catch {
      // The mount point of a bpffs, or not there: neither is in anybody's way.
    }
    if (removeMasquerade(device)) actions.push(`stopped masquerading for ${device}`);
    if (findInterface(device)?.kind === 'tun') {
      deleteInterface(device);
      actions.push(`deleted device ${device}`);
    }
    return actions;
  }

  /**
   * Puts the programs to work: tunnel device, settings, links, and the routes of the pools. What is
   * there already is updated in place, and no packet is lost; so it is when called again with other
   * options. Fill the maps first (`reconcile`): packets flow from here on.
   */
  attach(options: AttachOptions): { upgraded: boolean; actions: string[] } {
    const { uplink: uplinkName, localAddress, localAddress6, port, device, mtu } = options;
    if (!this.#object) throw new Error('This data plane was opened for reading only');
    const uplink = requireUplink(uplinkName);
    if (mtu < SMALLEST_MTU || mtu + OVERHEAD > uplink.mtu)
      throw new RangeError(
        `A tunnel MTU of ${mtu} is outside ${SMALLEST_MTU} … ${uplink.mtu - OVERHEAD}, ` +
          `what ${uplinkName} (MTU ${uplink.mtu}) can carry`,
      );
    const uplink6Name = options.uplink6 ?? uplinkName;
    const uplink6 = uplink6Name === uplinkName ? uplink : requireUplink(uplink6Name);

    const manageSysctls = options.manageSysctls ?? true;
    const actions = manageSysctls ? enableForwarding() : [];
    const tunnel = ensureTunnelDevice(device, mtu, actions);
    if (manageSysctls) answerRoutesFor(device);
    const hasIpv6 = localAddress6 !== undefined;
    this.configure({
      localAddress,
      localPort: port,
      uplinkIfindex: uplink.index,
      tunnelIfindex: tunnel.index,
      uplinkHeaderLength: uplink.headerLength,
      tunnelHeaderLength: tunnel.headerLength,
      localAddress6: localAddress6 ?? 0n,
      uplink6Ifindex: uplink6.index,
      uplink6HeaderLength: uplink6.headerLength,
      signallingLimits: options.signallingLimits ?? SIGNALLING_LIMITS,
      tunnelMtu: mtu,
      filteredPorts: options.filteredPorts ?? FILTERED_PORTS,
      hasRoutingRules: hasRoutingRules(),
      errorsPerSecond: ERRORS_PER_SECOND,
    });
    actions.push(`tunnels end at ${formatIpv4(localAddress)}, UDP port ${port} and protocol 41`);
    if (hasIpv6) actions.push(`tunnels for IPv4 end at ${formatIpv6(localAddress6)}`);
    const links = [this.#ensureLink('ingress', uplink.index, uplinkName, actions)];
    if (hasIpv6 && uplink6.index !== uplink.index)
      links.push(this.#ensureLink('ingress6', uplink6.index, uplink6Name, actions));
    else removePins(this.#pinDirectory, [LINK_PINS.ingress6]);
    links.push(this.#ensureLink('egress', tunnel.index, device, actions));
    if (options.xdp === false) removePins(this.#pinDirectory, [LINK_PINS.xdp, LINK_PINS.xdp6]);
    else this.#attachXdp(options.mode ?? 'complete', uplink, uplink6, actions);
    const mtu4 = Math.min(mtu, uplink6.mtu - OVERHEAD_V4V6);
    this.#routes = { device, uplink6: uplink6Name, mtu4, manageSysctls };
    actions.push(...syncTunnelRoutes(this.#routes, this.pools(), this.ipv4Pools()));
    return { upgraded: links.every((replaced) => replaced), actions };
  }

  /** The programs' settings; `attach` calls this with what it finds. */
  configure(options: ProgramSettings): void {
    const { signallingLimits, localAddress6, errorsPerSecond, filteredPorts, ...rest } = options;
    const { hasRoutingRules: hasRules, ...settings } = rest;
    if (filteredPorts.length > FILTERED_PORT_COUNT)
      throw new RangeError(`At most ${FILTERED_PORT_COUNT} ports can be filtered`);
    const hashMultiplier = this.#config.hashMultiplier || randomBytes(8).readBigUInt64LE() | 1n;
    this.#writeConfig({
      ...this.#config,
      ...settings,
      ...costsOf(signallingLimits),
      routeFlags: routeFlagsOf(hasRules),
      errorCost: errorsPerSecond === 0 ? 0 : Math.ceil(1e9 / errorsPerSecond),
      filteredPorts: Array.from({ length: FILTERED_PORT_COUNT }, (_, i) => filteredPorts[i] ?? 0),
      local6High: localAddress6 >> 64n,
      local6Low: BigInt.asUintN(64, localAddress6),
      hashMultiplier,
    });
  }

  /** Looks again whether the host has routing rules: the programs' look-ups leave them out without. */
  followRoutingRules(): void {
    const routeFlags = routeFlagsOf(hasRoutingRules());
    if (routeFlags !== this.#config.routeFlags) this.#writeConfig({ ...this.#config, routeFlags });
  }

  /** As the programs read them. */
  settings(): Readonly<ConfigLayout> {
    return this.#config;
  }

  /** A loaded program's descriptor, for running it over a packet. */
  programFd(name: ProgramName): number {
    if (!this.#object) throw new Error('This data plane was opened for reading only');
    return this.#object.programFd(name);
  }

  /** The IPv6 pools in the map. */
  pools(): PoolMapping[] {
    return this.#pools.filter((pool) => pool !== undefined && pool.purpose !== 'ipv4-link');
  }

  /** The pools for the inside of v4v6 tunnels. */
  ipv4Pools(): Ipv4PoolMapping[] {
    return this.#pools.filter((pool) => pool?.purpose === 'ipv4-link');
  }

  /** Replaces the pools, in the map and, when attached, in the kernel's routes to the device. */
  setPools(pools: readonly AnyPoolMapping[]): void {
    checkPools(pools, this.capacity);
    // A pool that stays keeps its entry, so that its packets never find it missing.
    for (const [key, pool] of this.#pools.entries())
      if (pool && !pools.some((wanted) => samePool(wanted, pool))) this.#writePool(key, undefined);
    for (const pool of pools)
      if (!this.#pools.some((present) => present && samePool(present, pool)))
        this.#writePool(this.#pools.indexOf(undefined), pool);
    const poolCount = this.#pools.findLastIndex((pool) => pool !== undefined) + 1;
    if (poolCount !== this.#config.poolCount) this.#writeConfig({ ...this.#config, poolCount });
    if (this.#routes) syncTunnelRoutes(this.#routes, this.pools(), this.ipv4Pools());
  }

  /**
   * Attaches the tunnel of `slot`, or moves it. A change of endpoint alone is one 64-bit store.
   * Counters stay unless `resetCounters`; but a tunnel that is `silentUntilHeard` has not been heard
   * at a changed endpoint.
   */
  put(slot: number, attachment: Attachment, options: { resetCounters?: boolean } = {}): void {
    this.#shared().tunnels.put(slot, attachment, options);
  }

  /** Detaches: nothing in, nothing out. The counters stay unless `resetCounters`. */
  remove(
    slot: number,
    standing: Standing = 'vacant',
    options: { resetCounters?: boolean } = {},
  ): void {
    this.#shared().tunnels.remove(slot, standing, options);
  }

  /** Says whose the delegated prefix at an owner index is; undefined: nobody's. */
  setOwner(index: number, slot: number | undefined): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.capacity.owners)
      throw new RangeError(`Owner index ${index} is outside 0 … ${this.capacity.owners - 1}`);
    const { tunnels, owners } = this.#shared();
    if (slot !== undefined) tunnels.check(slot);
    Atomics.store(owners, index, slot === undefined ? 0 : slot + 1);
  }

  /** undefined: detached; then {@link standing} says why. */
  attachment(slot: number): Attachment | undefined {
    return this.#shared().tunnels.attachment(slot);
  }

  standing(slot: number): Standing | 'attached' {
    return this.#shared().tunnels.standing(slot);
  }

  counters(slot: number): TunnelCounters {
    return this.#shared().tunnels.counters(slot);
  }

  faults(slot: number): TunnelFaults {
    return this.#shared().tunnels.faults(slot);
  }

  /**
   * What was counted in `count` slots from `first` up goes into `into`, TRAFFIC_FIELDS numbers each; the
   * answer says how those slots stand.
   */
  readTraffic(family: Family, first: number, count: number, into: Float64Array): Standings {
    const { tunnels, v4v6 } = this.#shared();
    return (family === 'ipv6' ? tunnels : v4v6).readTraffic(first, count, into);
  }

  /** Another one whenever the counters are others: those of new maps. */
  get epoch(): string {
    return this.#config.hashMultiplier.toString(16);
  }

  /** The last packet from there that led to no tunnel of that endpoint, unless forgotten since. */
  stray(at: Pick<Attachment, 'encapsulation' | 'client'>): Stray | undefined {
    const endpoint = endpointValue(at.encapsulation, at.client);
    const place = strayPlace(endpoint, this.#config.hashMultiplier);
    const stray = readStray(readElement(this.#maps.strays, place, STRAY_SIZE), 0);
    return strayOf(stray, endpoint, Date.now(), monotonicNowMs());
  }

  /** Of all endpoints; takes some milliseconds. */
  strays(): StrayAt[] {
    return readStrays(this.#maps.strays, Date.now(), monotonicNowMs());
  }

  /** Attaches or moves a tunnel for IPv4 over IPv6; v4v6 slots are counted apart. Counters stay. */
  putV4v6(
    slot: number,
    attachment: AttachmentV4v6,
    options: { resetCounters?: boolean } = {},
  ): void {
    this.#shared().v4v6.put(slot, attachment, options);
  }

  removeV4v6(
    slot: number,
    standing: Standing = 'vacant',
    options: { resetCounters?: boolean } = {},
  ): void {
    this.#shared().v4v6.remove(slot, standing, options);
  }

  standingV4v6(slot: number): Standing | 'attached' {
    return this.#shared().v4v6.standing(slot);
  }

  /** undefined: detached. */
  attachmentV4v6(slot: number): AttachmentV4v6 | undefined {
    return this.#shared().v4v6.attachment(slot);
  }

  countersV4v6(slot: number): TunnelCounters {
    return this.#shared().v4v6.counters(slot);
  }

  faultsV4v6(slot: number): TunnelFaults {
    return this.#shared().v4v6.faults(slot);
  }

  /** Every outcome, also those that never happened, in the order of layout.h. */
  outcomes(): OutcomeCount[] {
    const cpus = possibleCpuCount();
    return OUTCOME_NAMES.map((outcome, key) => {
      const counts = readElement(this.#maps.outcomes, key, OUTCOME_COUNT_SIZE * cpus);
      const total = { outcome, packets: 0n, bytes: 0n };
      for (let cpu = 0; cpu < cpus; cpu++) {
        const { packets, bytes } = readOutcomeCount(counts, cpu * OUTCOME_COUNT_SIZE);
        total.packets += packets;
        total.bytes += bytes;
      }
      return total;
    });
  }

  /** Empty, to be filled for {@link reconcile}. */
  desire(): DesiredMaps {
    const { v4v6 } = this.#shared();
    return new DesiredMaps(this.capacity, (slot, tunnel) => v4v6.check(slot, tunnel));
  }

  /**
   * Makes the maps say what is desired, by the fewest writes: what is right already is not touched.
   * Counts tunnels of every kind that have or had a client; throws RangeError, having changed nothing but perhaps pools, when anything
   * desired is impossible.
   */
  reconcile(
    state: DesiredState | { readonly pools: DesiredState['pools']; readonly desired: DesiredMaps },
  ): { put: number; removed: number; kept: number } {
    const desired = 'desired' in state ? state.desired : this.desire();
    if (!('desired' in state)) desired.addAll(state);
    const { tunnels, owners, v4v6 } = this.#shared();

    this.setPools(state.pools);
    const result = v4v6.reconcile(desired.v4v6);
    result.removed += tunnels.takeOut(desired.tunnels).removed;
    // Prefixes leave their old owners before anybody new is let in.
    for (let index = 0; index < owners.length; index++)
      if (owners[index] !== desired.owners[index])
        Atomics.store(owners, index, desired.owners[index]!);
    const { put, kept } = tunnels.letIn(desired.tunnels);
    return { put: result.put + put, removed: result.removed, kept: result.kept + kept };
  }

  /** Lets go. Pins stay, and traffic flows on. The instance is of no use afterwards; closing twice is fine. */
  close(): void {
    if (!this.#memory) return;
    this.#memory.unmap();
    this.#memory = undefined;
    if (this.#object) this.#object.close();
    else for (const fd of Object.values(this.#maps)) closeSync(fd);
  }

  #shared(): SharedMemory {
    if (!this.#memory) throw new Error('This data plane has been closed');
    return this.#memory;
  }

  #writeConfig(config: ConfigLayout): void {
    const view = new DataView(new ArrayBuffer(CONFIG_SIZE));
    writeConfig(view, 0, { ...config, layoutVersion: LAYOUT_VERSION });
    updateMapElement(this.#maps.config, 0, new Uint8Array(view.buffer));
    this.#config = config;
  }

  /** An entry is out of use while it is neither the old nor the new pool: a map's values are copied
   * octet by octet under the eyes of the programs. */
  #writePool(key: number, pool: AnyPoolMapping | undefined): void {
    const view = new DataView(new ArrayBuffer(POOL_SIZE));
    const value = new Uint8Array(view.buffer);
    if (pool) writePool(view, 0, poolLayoutOf(pool));
    const kind = value[POOL_OFFSET.kind] ?? POOL_NONE;
    value[POOL_OFFSET.kind] = POOL_NONE;
    updateMapElement(this.#maps.pools, key, value);
    value[POOL_OFFSET.kind] = kind;
    if (pool) updateMapElement(this.#maps.pools, key, value);
    this.#pools[key] = pool;
  }

  /** XDP only makes things faster, so there is no harm where it cannot be. */
  #attachXdp(
    mode: ForwardingMode,
    uplink: InterfaceState,
    uplink6: InterfaceState,
    actions: string[],
  ): void {
    const program = mode === 'fast' ? 'tunnel_forward' : 'tunnel_strip';
    const done = this.#ensureXdp('xdp', uplink, program);
    const hasOther = mode === 'fast' && uplink6.index !== uplink.index;
    const done6 = hasOther && done && this.#ensureXdp('xdp6', uplink6, program);
    if (!hasOther || !done) removePins(this.#pinDirectory, [LINK_PINS.xdp6]);
    if (!done)
      actions.push(
        `no XDP on ${uplink.name} (its driver has none, or another program has it): tc does all`,
      );
    else if (mode === 'fast')
      actions.push(
        hasOther && !done6
          ? `fast path on ${uplink.name}, but no XDP on ${uplink6.name}`
          : 'fast path: ordinary packets pass by firewall, conntrack and captures',
      );
  }

  /** false: the interface cannot. */
  #ensureXdp(
    which: 'xdp' | 'xdp6',
    { index, headerLength }: InterfaceState,
    program: 'tunnel_forward' | 'tunnel_strip',
  ): boolean {
    const path = join(this.#pinDirectory, LINK_PINS[which]);
    const fd = this.programFd(program);
    const existing = openPinned(path);
    try {
      if (existing !== undefined && linkInterface(existing) === index) {
        updateLink(existing, fd);
        return true;
      }
    } finally {
      if (existing !== undefined) closeSync(existing);
    }
    removePins(this.#pinDirectory, [LINK_PINS[which]]);
    const link = headerLength === ETHERNET_HEADER ? attachXdp(fd, index) : undefined;
    if (link === undefined) return false;
    pinOver(link, path);
    closeSync(link);
    return true;
  }

  /** Whether a link was there and got the program of today. */
  #ensureLink(
    which: keyof typeof LINK_PINS,
    index: number,
    name: string,
    actions: string[],
  ): boolean {
    const path = join(this.#pinDirectory, LINK_PINS[which]);
    const direction = which === 'egress' ? 'egress' : 'ingress';
    const program = this.programFd(`tunnel_${direction}`);
    const existing = openPinned(path);
    try {
      if (existing !== undefined && linkInterface(existing) === index) {
        updateLink(existing, program);
        actions.push(`replaced the ${direction} program on ${name}`);
        return true;
      }
    } finally {
      if (existing !== undefined) closeSync(existing);
    }
    const link = attachTcx(program, index, direction);
    pinOver(link, path); // lets go of a link to another interface, or to none
    closeSync(link);
    actions.push(`attached the ${direction} program to ${name}`);
    return false;
  }
}

function readElement(fd: number, key: number, octets: number): DataView<ArrayBuffer> {
  const value = new Uint8Array(octets);
  readMapElement(fd, key, value);
  return new DataView(value.buffer);
}

function shareMemory(maps: MapDescriptors, capacity: Capacity): SharedMemory {
  const tunnels = new TunnelRecords(maps);
  const owners = mapMemory(maps.owners, capacity.owners * OWNER_SIZE);
  const v4v6 = new V4v6Records(maps);
  return {
    tunnels,
    owners: new Uint32Array(owners.buffer),
    v4v6,
    unmap() {
      v4v6.unmap();
      tunnels.unmap();
      owners.unmap();
    },
  };
}
