// The options that say what tunnels may do, for one tunnel and for a group, and how they are shown.

import type { Command } from 'commander';
import { type EffectivePolicy, MTU_RANGE, parseRate, RATE_RANGE } from '../broker/policy.ts';
import type { PolicyChange, TunnelPolicy } from '../store/policies.ts';
import { fail, formatRate, wholeNumber } from './output.ts';

export interface PolicyFlags {
  mtu?: string;
  rateIn?: string;
  rateOut?: string;
  openPorts?: boolean;
  closePorts?: boolean;
  defaultPorts?: boolean;
}

export function addPolicyOptions(command: Command): Command {
  const rate = 'bits a second such as 20M, none, or default';
  return command
    .option('--mtu <octets>', `largest packet, ${MTU_RANGE.min} … ${MTU_RANGE.max}, or default`)
    .option('--rate-in <rate>', `what may come from the client: ${rate}`)
    .option('--rate-out <rate>', `what may go to the client: ${rate}`)
    .option('--open-ports', 'let it connect to the filtered ports (tunnel.filteredPorts)')
    .option('--close-ports', 'keep it from connecting to them')
    .option('--default-ports', 'neither: what is above decides');
}

/** What the flags say; what they do not mention stays. */
export function policyChangeOf(flags: PolicyFlags): PolicyChange {
  const { mtu, rateIn, rateOut } = flags;
  const ports = [
    ...(flags.openPorts ? ['open' as const] : []),
    ...(flags.closePorts ? ['closed' as const] : []),
    ...(flags.defaultPorts ? [undefined] : []),
  ];
  if (ports.length > 1) fail('say one of --open-ports, --close-ports, --default-ports');
  return {
    ...(mtu !== undefined && {
      mtu: mtu === 'default' ? undefined : wholeNumber('--mtu', mtu, MTU_RANGE.min, MTU_RANGE.max),
    }),
    ...(rateIn !== undefined && { inBitsPerSecond: rateOf('--rate-in', rateIn) }),
    ...(rateOut !== undefined && { outBitsPerSecond: rateOf('--rate-out', rateOut) }),
    ...(ports.length === 1 && { ports: ports[0] }),
  };
}

function rateOf(name: string, text: string): number | undefined {
  if (text === 'default') return undefined;
  return (
    parseRate(text) ??
    fail(
      `${name} is none, default, or from ${formatRate(RATE_RANGE.min)} to ` +
        `${formatRate(RATE_RANGE.max)}: a number of bits a second, perhaps with k, M or G`,
    )
  );
}

/** For machines: what is said, in bits a second and octets; what is not said is absent. */
export function policyJson({ mtu, inBitsPerSecond, outBitsPerSecond, ports }: TunnelPolicy) {
  return { mtu, rateIn: inBitsPerSecond, rateOut: outBitsPerSecond, ports };
}

/** For machines: what holds. */
export function effectiveJson({ mtu, rates, unfiltered }: EffectivePolicy, defaultMtu: number) {
  return {
    mtu: mtu || defaultMtu,
    rateIn: rates.inBitsPerSecond,
    rateOut: rates.outBitsPerSecond,
    ports: unfiltered ? 'open' : 'closed',
  };
}
