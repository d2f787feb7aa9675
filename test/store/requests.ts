// What the store's tests ask for, in few words.

import { type Ipv6Prefix, parseIpv4, parseIpv6Prefix } from '../../src/address.ts';
import type { Pool } from '../../src/store/pools.ts';
import type { SealedSecret, Store } from '../../src/store/store.ts';
import type { OpenResult, TunnelRequest } from '../../src/store/tunnel-acts.ts';
import type { Tunnel } from '../../src/store/tunnels.ts';

export const NOW = 1_700_000_000_000;

export function prefix(text: string): Ipv6Prefix {
  return parseIpv6Prefix(text)!;
}

export function at(address: string, port = 0) {
  return { address: parseIpv4(address)!, port };
}

export async function addLinks(store: Store, text = '2001:db8::/48', capacity = 1 << 24) {
  return added(
    await store.addPool(
      { purpose: 'link', prefix: prefix(text), positionLength: 64 },
      capacity,
      NOW,
    ),
  );
}

export async function addDelegations(store: Store, text = '2001:db8:8000::/40', length = 56) {
  return added(
    await store.addPool(
      { purpose: 'delegation', prefix: prefix(text), positionLength: length },
      1 << 24,
      NOW,
    ),
  );
}

function added(result: Awaited<ReturnType<Store['addPool']>>): Pool {
  if (!result.ok) throw new Error(`pool refused: ${result.refusal}`);
  return result.pool;
}

export function sealed(text: string): SealedSecret {
  return { sealedHa1: text, sealedScram: `${text}, for SCRAM` };
}

export async function addUser(store: Store, name: string): Promise<number> {
  const user = await store.addUser(name, sealed(`sealed ${name}`), NOW);
  if (user === 'name-taken') throw new Error(`${name} exists`);
  return user.id;
}

export function request(
  linkPools: readonly Pool[],
  {
    delegationPools = [],
    ...rest
  }: Partial<TunnelRequest> & { readonly delegationPools?: readonly Pool[] },
): TunnelRequest {
  return {
    userId: undefined,
    encapsulation: 'v6udpv4',
    client: at('192.0.2.1', 40_000),
    choose: () => ({ ok: true, linkPools, delegationPools }),
    countsAtAddress: false,
    requestedPrefixLength: undefined,
    nameServers: [],
    proxy: false,
    interfaceId: 2n,
    keepaliveSeconds: 30,
    lifetimeSeconds: 604_800,
    leaseMs: undefined,
    ...rest,
  };
}

export function opened(result: OpenResult): Tunnel {
  if (!result.ok) throw new Error(`tunnel refused: ${result.refusal}`);
  return result.tunnel;
}
