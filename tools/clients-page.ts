// Writes docs/clients.md from the table of systems, so that the page and the portal say the same:
//   node tools/clients-page.ts
// A test holds that it was done.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseIpv4, parseIpv6, parseIpv6Prefix } from '../src/address.ts';
import type { Evidence, Step, System } from '../src/setup/instructions.ts';
import { prose, proseParts } from '../src/setup/texts.ts';
import type { Encapsulation, TunnelFacts } from '../src/setup/values.ts';
import { instructionsOf, SYSTEMS } from '../src/setup.ts';

export const CLIENTS_PAGE = join(import.meta.dirname, '../docs/clients.md');

/** An example out of the documentation ranges (RFC 5737, RFC 3849). */
const EXAMPLE: Omit<TunnelFacts, 'encapsulation'> = {
  server: { name: 'tb.example', address: parseIpv4('203.0.113.53') ?? 0, port: 3653 },
  user: 'alice',
  gateway: parseIpv6('2001:db8:1000:1::1') ?? 0n,
  address: parseIpv6('2001:db8:1000:1::2') ?? 0n,
  linkLength: 64,
  prefix: parseIpv6Prefix('2001:db8:2000::/56'),
  mtu: 1280,
  keepaliveSeconds: 30,
  client: { address: parseIpv4('198.51.100.10') ?? 0, behindNat: false },
  resolver: parseIpv6('2620:fe::fe') ?? 0n,
};

const EVIDENCE: Readonly<Record<Evidence, string>> = {
  run: 'by this project’s tests',
  documented: 'its documentation',
  reported: 'its users',
};

const INTRODUCTION = `# How to connect

<!-- Written by tools/clients-page.ts from src/setup/; change it there. -->

What to do on each kind of system, here with an example: a tunnel of \`alice\` at \`tb.example\`, with a
prefix for the network behind it. The pages of your own tunnel show the same with your values filled in,
and \`sixway tunnel config alice --system openwrt\` does on the broker.

- **UDP** goes through any NAT, but needs a program that logs in: our client, or gogoc.
- **Protocol 41** is spoken by nearly every router, needs no login, and needs a public IPv4 address on the
  system itself. The broker has to be told that address: on the tunnel’s page, or by dynamic DNS.

Who is behind carrier-grade NAT, or does not know, takes the Sixway client. The last column says how we
know that the instructions are right: whether our tests run them, or who says so. Tests run on Linux kernels
that have what is needed; we have none of the other systems here, so tell us what you find.
`;

export function clientsPage(): string {
  return `${[INTRODUCTION, overview(), ...SYSTEMS.map(chapter)].join('\n')}`;
}

function overview(): string {
  const yes = (value: boolean) => (value ? 'yes' : 'no');
  return [
    '| System | UDP | Protocol 41 | Behind a NAT | A network behind it | Known from |',
    '| --- | --- | --- | --- | --- | --- |',
    ...SYSTEMS.map(
      ({ id, title, encapsulations, needsPublicAddress, servesNetwork, evidence }) =>
        `| [${title}](#${id}) | ${yes(encapsulations.includes('v6udpv4'))} | ` +
        `${yes(encapsulations.includes('v6v4'))} | ${yes(!needsPublicAddress)} | ` +
        `${yes(servesNetwork)} | ${EVIDENCE[evidence]} |`,
    ),
    '',
  ].join('\n');
}

function chapter(system: System): string {
  const [encapsulation = 'v6v4'] = system.encapsulations as readonly Encapsulation[];
  const found = instructionsOf(system, { ...EXAMPLE, encapsulation });
  if (!found.serves) throw new Error(`${system.id} does not serve the example`);
  const { setUp, check, undo } = found;
  return [
    `<a id="${system.id}"></a>`,
    '',
    `## ${system.title}`,
    '',
    ...[...setUp, ...check].flatMap(markdown),
    `**${words({ type: 'prose', said: prose('undo') })}**`,
    '',
    ...undo.flatMap(markdown),
  ].join('\n');
}

function markdown(step: Step): string[] {
  if (step.type === 'prose') return [words(step), ''];
  const { file } = step;
  const head = file ? [words({ type: 'prose', said: prose('write-file', file) }), ''] : [];
  return [...head, `\`\`\`${step.language === 'sh' ? 'sh' : ''}`, step.text, '```', ''];
}

function words({ said }: Extract<Step, { type: 'prose' }>): string {
  return proseParts(said, 'en')
    .map(({ type, text }) => (type === 'value' ? `\`${text}\`` : text))
    .join('');
}

if (import.meta.main) writeFileSync(CLIENTS_PAGE, clientsPage());
