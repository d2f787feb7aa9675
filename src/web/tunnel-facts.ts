// What instructions are filled in with, for a person's own tunnel.

import type { OwnTunnel, TunnelTerms } from '../broker/tunnel-desk.ts';
import type { TunnelFacts } from '../setup/values.ts';

export type By = 'v6udpv4' | 'v6v4';

/** Undefined: the server's address is not known, or the tunnel is one of IPv4. */
export function factsFor(
  { server, resolver }: TunnelTerms,
  tunnel: OwnTunnel,
  by: By | undefined,
): TunnelFacts | undefined {
  const { setup, encapsulation, endpoint, mtu, keepaliveSeconds, name } = tunnel;
  if (!setup || server.address === undefined || encapsulation === 'v4v6') return undefined;
  const { gateway, address, linkLength, prefix, staticClient } = setup;
  const seen = typeof endpoint?.address === 'number' ? endpoint.address : undefined;
  const client = staticClient ?? seen;
  return {
    server: { name: server.name, address: server.address, port: server.port },
    user: name,
    encapsulation: by ?? encapsulation,
    gateway,
    address,
    linkLength,
    prefix,
    mtu,
    keepaliveSeconds,
    // In UDP it is taken for one behind a NAT: clients without one get protocol 41.
    client:
      client === undefined
        ? undefined
        : { address: client, behindNat: staticClient === undefined && encapsulation === 'v6udpv4' },
    resolver,
  };
}
