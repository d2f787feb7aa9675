// What the TSP client is told, and what it reports while it works. No behaviour here.

import type { Endpoint, IpAddress, Ipv6Prefix } from '../address.ts';
import type { Transport } from '../tsp/create-rules.ts';
import type { ConcreteTunnelType, Mechanism, TunnelType } from '../tsp/messages.ts';

export interface ConnectOptions {
  /** As the user wrote it: a name or an address, without brackets. */
  readonly server: string;
  readonly port: number;
  /** Undefined: UDP, and TCP where that gets no answer and would do. */
  readonly transport: Transport | undefined;
  readonly login?: { readonly username: string; readonly password: string };
  /** In order of preference. */
  readonly mechanisms: readonly Mechanism[];
  /** With `v4v6` the server is spoken to over IPv6, else over IPv4. */
  readonly tunnelType: TunnelType;
  /** Asks for a delegated prefix of this length. */
  readonly prefixLength?: number;
  /** Gets the first /64 of the delegated prefix. */
  readonly lanInterface?: string;
  readonly device: string;
  /** Of the default route through the tunnel; undefined: leave the default route alone. */
  readonly routeMetric: number | undefined;
  readonly mtu: number;
  /** Give up after the first failure instead of trying again. */
  readonly once: boolean;
}

export type ClientReport =
  | {
      readonly event: 'connecting';
      readonly server: string;
      readonly port: number;
      readonly transport: Transport;
    }
  | {
      readonly event: 'message';
      readonly direction: 'sent' | 'received';
      readonly text: string;
    }
  | {
      readonly event: 'up';
      readonly encapsulation: ConcreteTunnelType;
      /** Both ends inside: IPv4 for v4v6, else IPv6. */
      readonly address: IpAddress;
      readonly gateway: IpAddress;
      readonly prefix?: Ipv6Prefix;
      readonly server: Endpoint;
      readonly local: Endpoint;
      readonly device: string;
      readonly keepaliveSeconds?: number;
    }
  /** The gateway answered through the tunnel for the first time. */
  | { readonly event: 'alive' }
  /** The tunnel was up and is no more. */
  | { readonly event: 'lost'; readonly why: string }
  | { readonly event: 'retry'; readonly why: string; readonly inSeconds: number }
  /** Nothing more will be tried. */
  | { readonly event: 'failed'; readonly why: string }
  | { readonly event: 'down' };
