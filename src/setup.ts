// How a tunnel is set up on the systems that people have: from the facts of one tunnel to steps that
// have every value filled in. Pure: knows no store, no socket and no page. The systems are one table,
// made in setup/ by family; the texts are setup/texts.ts.

import { BSD } from './setup/bsd.ts';
import { DESKTOPS } from './setup/desktops.ts';
import { ENTERPRISE_ROUTERS } from './setup/enterprise-routers.ts';
import { FIREWALLS } from './setup/firewalls.ts';
import { type Sections, type Step, type System, say } from './setup/instructions.ts';
import { LINUX } from './setup/linux.ts';
import { LINUX_SERVICES } from './setup/linux-services.ts';
import { ROUTERS } from './setup/routers.ts';
import { type Prose, prose } from './setup/texts.ts';
import { TSP_CLIENTS } from './setup/tsp-clients.ts';
import { type TunnelFacts, type Values, valuesOf } from './setup/values.ts';

/** In the order in which they are shown: what suits most people first. */
export const SYSTEMS: readonly System[] = [
  ...TSP_CLIENTS,
  ...LINUX,
  ...LINUX_SERVICES,
  ...ROUTERS,
  ...BSD,
  ...DESKTOPS,
  ...FIREWALLS,
  ...ENTERPRISE_ROUTERS,
];

export type Instructions = { readonly system: System } & (
  | ({ readonly serves: true } & Sections)
  /** This system cannot have this tunnel; `why` says so, and what to use instead. */
  | { readonly serves: false; readonly why: Prose }
);

/** For every system. */
export function instructionsFor(facts: TunnelFacts): readonly Instructions[] {
  return SYSTEMS.map((system) => instructionsOf(system, facts));
}

export function systemOf(id: string): System | undefined {
  return SYSTEMS.find((system) => system.id === id);
}

export function instructionsOf(system: System, facts: TunnelFacts): Instructions {
  const why = whyNot(system, facts);
  if (why) return { system, serves: false, why };
  const values = valuesOf(facts);
  const { setUp, check, undo } = system.sections(values);
  return {
    system,
    serves: true,
    setUp: [...before(system, values), ...setUp, ...after(system, values)],
    check: [...check, say('if-silent')],
    undo,
  };
}

function whyNot(system: System, { encapsulation, client }: TunnelFacts): Prose | undefined {
  const { title, encapsulations, needsPublicAddress } = system;
  if (needsPublicAddress && client?.behindNat) return prose('no-nat', { title });
  if (!encapsulations.includes(encapsulation))
    return encapsulation === 'v6udpv4' ? prose('no-udp', { title }) : prose('no-protocol-41');
  if (needsPublicAddress && !client) return prose('no-address', { title });
  return undefined;
}

function before({ needsPublicAddress }: System, { client }: Values): Step[] {
  return needsPublicAddress ? [say('endpoint', { address: client })] : [];
}

function after(system: System, { server, prefix, encapsulation }: Values): Step[] {
  return [
    ...(encapsulation === 'v6v4' ? [say('if-firewall', { server })] : []),
    ...(prefix && !system.servesNetwork ? [say('prefix-unused', { prefix: prefix.text })] : []),
    say('reachable'),
  ];
}
