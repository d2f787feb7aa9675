// A broker on a database and kernel maps of its own; both are gone when the test is over.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type Ipv6Prefix, parseIpv4, parseIpv4Prefix, parseIpv6Prefix } from '../../src/address.ts';
import { Accounts } from '../../src/broker/accounts.ts';
import {
  Broker,
  type BrokerOptions,
  type BrokerPolicy,
  type LockoutEvent,
  type OpenRequest,
  type Refusal,
  type Result,
  type TunnelOffer,
} from '../../src/broker/broker.ts';
import { Dataplane } from '../../src/dataplane/dataplane.ts';
import { TICK_SHIFT, TUNNEL_OFFSET, TUNNEL_V4V6_OFFSET } from '../../src/dataplane/layout.gen.ts';
import type { Ipv6Pool, Pool } from '../../src/store/pools.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';

export const REALM = 'broker.example';
export const KEY = new Uint8Array(32).fill(7);
export const POLICY: BrokerPolicy = {
  keepaliveSeconds: 30,
  anonymousLifetimeSeconds: 600,
  maxTunnelsPerAddress: 0,
  userLeaseSeconds: 0,
};

const CAPACITY = { tunnels: 1024, owners: 1024, v4v6: 8 };

export const HOME = at('192.0.2.1', 40_000);
export const AWAY = at('198.51.100.1', 40_000);

type RecordMap = 'tunnels' | 'tunnels_v4v6';

export interface FixtureOptions {
  readonly links?: string;
  /** A prefix and the length that it is cut into, each. */
  readonly delegations?: readonly (readonly [string, number])[];
  readonly background?: boolean;
  readonly policy?: Partial<BrokerPolicy>;
  readonly beforeReset?: BrokerOptions['beforeReset'];
}

export class Fixture {
  readonly directory: string;
  readonly pinDirectory: string;
  readonly file: string;
  readonly store: Store;
  readonly dataplane: Dataplane;
  readonly accounts: Accounts;
  readonly complaints: string[] = [];
  readonly lockouts: LockoutEvent[] = [];
  broker: Broker;
  nowMs = Date.now();
  readonly #options: FixtureOptions;
  #policy: BrokerPolicy;

  private constructor(
    directory: string,
    pinDirectory: string,
    file: string,
    store: Store,
    dataplane: Dataplane,
    options: FixtureOptions,
  ) {
    this.directory = directory;
    this.pinDirectory = pinDirectory;
    this.file = file;
    this.store = store;
    this.dataplane = dataplane;
    this.accounts = new Accounts(store, KEY, REALM, () => this.nowMs);
    this.#options = options;
    this.#policy = { ...POLICY, ...options.policy };
    this.broker = undefined as unknown as Broker;
  }

  static async make(options: FixtureOptions = {}): Promise<Fixture> {
    const directory = mkdtempSync(join(tmpdir(), 'sixway-broker-'));
    const pinDirectory = join('/sys/fs/bpf', basename(directory));
    const file = join(directory, 'sixway.db');
    const dataplane = Dataplane.open({ pinDirectory, capacity: CAPACITY });
    const store = await openSqliteStore({ file, create: true });
    const made = new Fixture(directory, pinDirectory, file, store, dataplane, options);
    try {
      await made.addPool('link', options.links ?? '2001:db8::/56', 64);
      for (const [prefix, length] of options.delegations ?? [['2001:db8:8000::/48', 56]])
        await made.addPool('delegation', prefix, length);
      made.broker = await made.start();
    } catch (error) {
      await made.remove();
      throw error;
    }
    return made;
  }

  async addPool(purpose: Ipv6Pool['purpose'], text: string, positionLength: number): Promise<Pool> {
    const added = await this.store.addPool(
      { purpose, prefix: prefix(text), positionLength },
      1024,
      this.nowMs,
    );
    if (!added.ok) throw new Error(added.refusal);
    return added.pool;
  }

  async addIpv4Pool(text: string, positionLength: 30 | 32): Promise<void> {
    const wish = { purpose: 'ipv4-link', prefix: parseIpv4Prefix(text)!, positionLength } as const;
    const added = await this.store.addPool(wish, CAPACITY.v4v6, this.nowMs);
    if (!added.ok) throw new Error(added.refusal);
    await this.broker.followChanges();
  }

  async start(): Promise<Broker> {
    return Broker.start({
      store: this.store,
      dataplane: this.dataplane,
      accounts: this.accounts,
      policy: this.#policy,
      log: (message, error) => this.complaints.push(error ? `${message}: ${error}` : message),
      onLockout: (event) => this.lockouts.push(event),
      clock: () => this.nowMs,
      background: this.#options.background ?? false,
      ...(this.#options.beforeReset && { beforeReset: this.#options.beforeReset }),
    });
  }

  /** As after a crash: whatever was in memory is gone. */
  async restart(): Promise<Broker> {
    await this.broker.stop();
    this.broker = await this.start();
    return this.broker;
  }

  async restartWith(policy: Partial<BrokerPolicy>): Promise<void> {
    this.#policy = { ...this.#policy, ...policy };
    await this.restart();
  }

  /** The user's id. */
  async addUser(name: string): Promise<number> {
    const added = await this.accounts.add(name, 'open sesame');
    if (!added.ok) throw new Error(added.refusal);
    return added.user.id;
  }

  /** Anonymous, in UDP, from home, unless the request says otherwise. */
  tryOpen(request: Partial<OpenRequest>) {
    const usual = { userId: undefined, encapsulation: 'v6udpv4', client: HOME } as const;
    return this.broker.open({ ...usual, ...request });
  }

  async open(request: Partial<OpenRequest>): Promise<TunnelOffer> {
    const result = await this.tryOpen(request);
    if (!result.ok) throw new Error(`refused: ${result.refusal}`);
    return result.offer;
  }

  async login(request: Partial<OpenRequest>): Promise<TunnelOffer> {
    const offer = await this.open(request);
    const accepted = await this.broker.accept(offer.offerId);
    if (!accepted.ok) throw new Error(`not accepted: ${accepted.refusal}`);
    return offer;
  }

  /** As if the kernel had counted `packets` from the client in this slot, at no known time. */
  countInKernel(slot: number, packets: number, map: RecordMap = 'tunnels'): void {
    const at = { tunnels: TUNNEL_OFFSET, tunnels_v4v6: TUNNEL_V4V6_OFFSET }[map].inPackets;
    this.#changeRecord(map, slot, (record) => record.set([packets], at));
  }

  /** As if the client in this slot had just sent something. */
  hearInKernel(slot: number): void {
    const tick = Number(process.hrtime.bigint() >> BigInt(TICK_SHIFT));
    this.#changeRecord('tunnels', slot, (record) =>
      new DataView(record.buffer).setUint32(TUNNEL_OFFSET.inLastSeen, tick, true),
    );
  }

  #changeRecord(name: RecordMap, slot: number, change: (record: Uint8Array) => void): void {
    const map = ['pinned', join(this.pinDirectory, name)];
    const key = ['key', slot & 255, slot >> 8, 0, 0].map(String);
    const found = execFileSync('bpftool', ['-j', 'map', 'lookup', ...map, ...key], {
      encoding: 'utf8',
    });
    const { value } = JSON.parse(found) as { value: string[] };
    const record = Uint8Array.from(value, Number);
    change(record);
    execFileSync('bpftool', [
      'map',
      'update',
      ...map,
      ...key,
      'value',
      ...Array.from(record, String),
    ]);
  }

  /** The slot that each owner index leads to, from the kernel: the map is one array of words. */
  ownersInKernel(): Map<number, number> {
    const dump = execFileSync(
      'bpftool',
      ['-j', 'map', 'dump', 'pinned', join(this.pinDirectory, 'owners')],
      { encoding: 'utf8', maxBuffer: 1 << 24 },
    );
    const entries = JSON.parse(dump) as { value: string[] }[];
    const octets = Uint8Array.from(entries.flatMap(({ value }) => value.map(Number)));
    const owners = new Map<number, number>();
    for (const [index, word] of new Uint32Array(octets.buffer).entries())
      if (word !== 0) owners.set(index, word - 1);
    return owners;
  }

  async remove(): Promise<void> {
    await this.broker?.stop();
    this.dataplane.close();
    await this.store.close();
    Dataplane.uninstall(this.pinDirectory, 'no-such-device');
    rmSync(this.directory, { recursive: true });
  }
}

export function prefix(text: string): Ipv6Prefix {
  return parseIpv6Prefix(text)!;
}

export function at(address: string, port = 0) {
  return { address: parseIpv4(address)!, port };
}

export async function refusedAs(result: Promise<Result>, refusal: Refusal): Promise<void> {
  assert.deepEqual(await result, { ok: false, refusal });
}
