// What holds for a tunnel: its own word, else its user's group's, else the default. The one place
// where that is decided. Pure.

import type { RateLimits } from '../dataplane/contract.ts';
import { HIGHEST_RATE, LOWEST_RATE, SMALLEST_MTU } from '../dataplane/records.ts';
import type { Policies, TunnelPolicy } from '../store/policies.ts';

export interface EffectivePolicy {
  /** In octets; 0: what the broker is configured for. */
  readonly mtu: number;
  /** 0: no limit. */
  readonly rates: RateLimits;
  /** May connect to the filtered ports. */
  readonly unfiltered: boolean;
}

export function effectivePolicy({ policy, group }: Policies): EffectivePolicy {
  const said = <K extends keyof TunnelPolicy>(what: K): TunnelPolicy[K] =>
    policy[what] ?? group?.policy[what];
  return {
    mtu: said('mtu') ?? 0,
    rates: {
      inBitsPerSecond: said('inBitsPerSecond') ?? 0,
      outBitsPerSecond: said('outBitsPerSecond') ?? 0,
    },
    unfiltered: said('ports') === 'open',
  };
}

/** What can be said. IPv4 carries 1500 octets nearly everywhere, of which IPv4 and UDP take 28. */
export const MTU_RANGE = { min: SMALLEST_MTU, max: 1472 } as const;
/** Bits a second; 0 is no limit. */
export const RATE_RANGE = { min: LOWEST_RATE, max: HIGHEST_RATE } as const;

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, G: 1e9 };

/** Bits a second, as people write them: `20M`, or `none` for 0. Undefined: that is no rate. */
export function parseRate(text: string): number | undefined {
  if (text === 'none') return 0;
  const [, number, unit = ''] = /^([0-9]+(?:\.[0-9]+)?)([kMG]?)$/.exec(text) ?? [];
  const rate = Math.round(Number(number) * (UNITS[unit] ?? 1));
  return rate >= RATE_RANGE.min && rate <= RATE_RANGE.max ? rate : undefined;
}

/** The inverse of {@link parseRate}. */
export function writeRate(bitsPerSecond: number): string {
  if (bitsPerSecond === 0) return 'none';
  for (const [unit, size] of Object.entries(UNITS).reverse())
    if (bitsPerSecond % size === 0) return `${bitsPerSecond / size}${unit}`;
  return String(bitsPerSecond);
}
