// `sixway connect`: options of the client, and its reports as lines for people or for machines.

import type { Command } from 'commander';
import { formatEndpoint, formatIp, formatIpv6Prefix } from '../address.ts';
import type { ClientReport, ConnectOptions } from '../client/report.ts';
import { connect } from '../client.ts';
import type { ConcreteTunnelType, Mechanism, TunnelType } from '../tsp/messages.ts';
import { readSecret } from './input.ts';
import { fail, printJson, wholeNumber } from './output.ts';

interface Flags {
  mechanism?: string;
  type: string;
  transport?: string;
  prefixLength?: string;
  lan?: string;
  device: string;
  metric: string;
  defaultRoute: boolean;
  mtu: string;
  secretFile?: string;
  once?: boolean;
  json?: boolean;
  verbose?: boolean;
}

const MECHANISMS: readonly Mechanism[] = ['SCRAM-SHA-256', 'DIGEST-MD5', 'PLAIN', 'ANONYMOUS'];
const TYPES: readonly TunnelType[] = ['v6anyv4', 'v6udpv4', 'v6v4', 'v4v6'];

export function addConnectCommand(program: Command): void {
  program
    .command('connect <target>')
    .description('bring up a tunnel: [user@]server[:port]; without a user, anonymously')
    .option('--prefix-length <n>', 'ask for a delegated prefix of this length (48 … 64)')
    .option('--lan <interface>', 'give this interface the first /64 of the delegated prefix')
    .option(
      '--type <type>',
      `${TYPES.join(', ')}: how packets travel; v4v6 is IPv4 over IPv6`,
      'v6anyv4',
    )
    .option('--transport <name>', 'signal over udp or tcp only; else UDP, then TCP')
    .option('--mechanism <name>', `log in only by ${MECHANISMS.join(', ')}`)
    .option('--secret-file <file>', 'read the secret from a file; else $SIXWAY_SECRET or a prompt')
    .option('--device <name>', 'name of the tunnel device', 'tb6')
    .option('--mtu <octets>', 'largest packet in the tunnel, 1280 … 1480', '1280')
    .option('--metric <n>', 'metric of the default route', '512')
    .option('--no-default-route', 'leave the default route alone')
    .option('--once', 'end with an error at the first failure instead of trying again')
    .option('--json', 'report in JSON, one event a line')
    .option('-v, --verbose', 'show the TSP conversation')
    .action(async (target: string, flags: Flags) => {
      const options = await connectOptions(target, flags);
      const aborter = new AbortController();
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
        process.on(name, () => aborter.abort());
      }
      const report = flags.json ? reportJson : reportText;
      const succeeded = await connect(
        options,
        (what) => {
          if (what.event !== 'message' || flags.verbose) report(what);
        },
        aborter.signal,
      );
      process.exitCode = succeeded ? 0 : 1;
    });
}

async function connectOptions(target: string, flags: Flags): Promise<ConnectOptions> {
  const parts = /^(?:(.+)@)?(?:\[([0-9a-fA-F:.]+)\]|([^@:]+))(?::(\d{1,5}))?$/.exec(target);
  if (!parts) fail(`'${target}' is not [user@]server[:port]`);
  const [, username, bracketed, plain = '', port = '3653'] = parts;
  const server = bracketed ?? plain;
  const mechanism = MECHANISMS.find((name) => name === flags.mechanism?.toUpperCase());
  if (flags.mechanism !== undefined && !mechanism) {
    fail(`--mechanism is one of ${MECHANISMS.join(', ')}`);
  }
  if (mechanism !== undefined && mechanism !== 'ANONYMOUS' && username === undefined) {
    fail(`a login by ${mechanism} needs a user: user@${server}`);
  }
  const tunnelType =
    TYPES.find((type) => type === flags.type) ?? fail(`--type is one of ${TYPES.join(', ')}`);
  const { transport } = flags;
  if (transport !== undefined && transport !== 'udp' && transport !== 'tcp') {
    fail('--transport is udp or tcp');
  }
  const anonymous = username === undefined || mechanism === 'ANONYMOUS';
  if (process.getuid?.() !== 0) fail('a tunnel device needs root: use sudo');
  const password = anonymous
    ? undefined
    : ((await readSecret(`Secret of ${username}: `, flags.secretFile)) ??
      fail('no secret: give --secret-file or $SIXWAY_SECRET'));
  return {
    server,
    port: wholeNumber('port', port, 1, 65535),
    transport,
    ...(password !== undefined && { login: { username: username ?? '', password } }),
    // The secret is not sent in clear text unless that was asked for.
    mechanisms: mechanism
      ? [mechanism]
      : anonymous
        ? ['ANONYMOUS']
        : ['SCRAM-SHA-256', 'DIGEST-MD5'],
    tunnelType,
    ...(flags.prefixLength !== undefined && {
      prefixLength: wholeNumber('--prefix-length', flags.prefixLength, 1, 64),
    }),
    ...(flags.lan !== undefined && { lanInterface: flags.lan }),
    device: flags.device,
    routeMetric: flags.defaultRoute ? wholeNumber('--metric', flags.metric, 1, 2 ** 31) : undefined,
    mtu: wholeNumber('--mtu', flags.mtu, 1280, 1480),
    once: flags.once ?? false,
  };
}

function reportJson(report: ClientReport): void {
  if (report.event !== 'up') {
    printJson(report);
    return;
  }
  const { prefix, server, local, ...rest } = report;
  printJson({
    ...rest,
    address: formatIp(report.address),
    gateway: formatIp(report.gateway),
    ...(prefix && { prefix: formatIpv6Prefix(prefix) }),
    server: formatEndpoint(server),
    local: formatEndpoint(local),
  });
}

function reportText(report: ClientReport): void {
  switch (report.event) {
    case 'connecting':
      console.log(
        `Connecting to ${report.server}, ${report.transport.toUpperCase()} port ${report.port}`,
      );
      return;
    case 'message':
      for (const line of conversation(report)) console.log(line);
      return;
    case 'up':
      console.log(
        `The tunnel is up: ${formatIp(report.address)}` +
          `${report.prefix ? `, prefix ${formatIpv6Prefix(report.prefix)}` : ''}` +
          `, by ${describe(report.encapsulation)} to ${formatIp(report.server.address)}`,
      );
      return;
    case 'alive':
      console.log('The gateway answers through the tunnel');
      return;
    case 'lost':
      console.log(`The tunnel is lost: ${report.why}`);
      return;
    case 'retry':
      console.log(`No tunnel: ${report.why}; trying again in ${report.inSeconds} s`);
      return;
    case 'failed':
      console.error(`sixway: no tunnel: ${report.why}`);
      return;
    case 'down':
      console.log('The tunnel is down, its device and routes are gone');
  }
}

function describe(encapsulation: ConcreteTunnelType): string {
  switch (encapsulation) {
    case 'v6udpv4':
      return 'IPv6 in UDP (v6udpv4)';
    case 'v6v4':
      return 'protocol 41 (v6v4)';
    case 'v4v6':
      return 'IPv4 in IPv6 (v4v6)';
  }
}

/** One message a block, the lines of the answer indented; base64 is shown as what it says. */
function conversation(message: Extract<ClientReport, { event: 'message' }>): string[] {
  const arrow = message.direction === 'sent' ? '>' : '<';
  const text = message.text.replaceAll('\0', '').trimEnd();
  const readable = /^[A-Za-z0-9+/]{24,}=*$/.test(text)
    ? `base64: ${Buffer.from(text, 'base64').toString('latin1')}`
    : text;
  const lines = readable === '' ? ['(header only)'] : readable.split(/\r?\n/);
  return lines.map((line, index) => `${index === 0 ? arrow : ' '} ${line}`);
}
