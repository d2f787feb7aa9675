// `sixway abuse …`: who had an address at a time, for the desk that answers complaints. In words for
// people, as JSON or CSV for the file.

import type { Command } from 'commander';
import {
  formatEndpoint,
  formatIp,
  formatPrefix,
  type IpPrefix,
  parseIp,
  parseIpv4Prefix,
  parseIpv6Prefix,
} from '../address.ts';
import { type AbuseAnswer, addressAsPrefix, whoHad } from '../broker/abuse.ts';
import { withStore } from '../parts.ts';
import type { AttachmentTenure, LeaseTenure, Span } from '../store/history.ts';
import { addConfigOption, configOf } from './config-option.ts';
import { fail, isoTime, printCsv, printJson, wholeNumber } from './output.ts';

interface Flags {
  config?: string;
  port?: string;
  at?: string;
  from?: string;
  until?: string;
  json?: boolean;
  csv?: boolean;
}

export function addAbuseCommand(program: Command): void {
  addConfigOption(program.command('abuse <address>'))
    .description('who had an address: a tunnel’s own, or the one that its client came from')
    .option('--port <port>', 'the client’s UDP port, where many share an address')
    .option('--at <time>', 'when, such as 2026-11-25T09:30:00Z; without a zone it is UTC (now)')
    .option('--from <time>', 'instead of --at: whoever had it from then …')
    .option('--until <time>', '… until then (now)')
    .option('--json', 'for machines')
    .option('--csv', 'for spreadsheets')
    .action(async (text: string, flags: Flags) => {
      const what = parseWhat(text);
      const port =
        flags.port === undefined ? undefined : wholeNumber('--port', flags.port, 1, 65535);
      const span = spanOf(flags, Date.now());
      const { config } = configOf(flags);
      const { attachmentsDays } = config.history;
      const answer = await withStore(config, (store) => whoHad(store.history, what, port, span));
      const kept = Date.now() - attachmentsDays * 86_400_000;
      if (flags.json) printJson(toJson(answer));
      else if (flags.csv) printCsv(CSV_HEAD, toCsv(answer));
      else
        for (const line of inWords(text, port, span, answer, kept, Date.now())) console.log(line);
    });
}

function parseWhat(text: string): IpPrefix {
  const address = parseIp(text);
  const prefix =
    address === undefined
      ? (parseIpv6Prefix(text) ?? parseIpv4Prefix(text))
      : addressAsPrefix(address);
  return prefix ?? fail(`${text} is no address and no prefix`);
}

/** Throws CommandFailed. The end of a span is not before its beginning. */
export function spanOf(flags: Pick<Flags, 'at' | 'from' | 'until'>, nowMs: number): Span {
  const { at, from, until } = flags;
  if (at !== undefined && (from !== undefined || until !== undefined))
    fail('say either --at, or --from and perhaps --until');
  if (until !== undefined && from === undefined) fail('--until needs --from');
  if (from === undefined) {
    const atMs = at === undefined ? nowMs : parseTime('--at', at);
    return { fromMs: atMs, untilMs: atMs };
  }
  const fromMs = parseTime('--from', from);
  const untilMs = until === undefined ? nowMs : parseTime('--until', until);
  if (untilMs < fromMs) fail('--until is before --from');
  return { fromMs, untilMs };
}

function parseTime(name: string, text: string): number {
  const [, day, clock, zone] =
    /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)(Z|[+-]\d{2}:?\d{2})?)?$/.exec(
      text,
    ) ?? [];
  // What has no zone is read as the reader's by some and as UTC by others: here it is UTC.
  const ms =
    day === undefined ? Number.NaN : Date.parse(`${day}T${clock ?? '00:00'}${zone ?? 'Z'}`);
  return Number.isNaN(ms) ? fail(`${name} is a time such as 2026-11-25T09:30:00Z`) : ms;
}

/** One line each; what is further in belongs to the line before. */
export function inWords(
  asked: string,
  port: number | undefined,
  span: Span,
  answer: AbuseAnswer,
  keptSinceMs: number,
  nowMs: number,
): readonly string[] {
  const { holders, clients, truncated } = answer;
  const what = port === undefined ? asked : `${asked}, port ${port},`;
  const when =
    span.fromMs === span.untilMs
      ? `at ${isoTime(span.fromMs)}`
      : `between ${isoTime(span.fromMs)} and ${isoTime(span.untilMs)}`;
  const lines: string[] = [];
  for (const { lease, attachments } of holders) {
    lines.push(
      `${asked} ${when} belonged to ${whom(lease)}: ${LEASES[lease.purpose]} ${formatPrefix(lease.prefix)}, ` +
        `${time(lease)}.`,
    );
    for (const attachment of attachments) lines.push(`  The client was at ${place(attachment)}.`);
    if (attachments.length === 0) lines.push('  The tunnel had no client meanwhile.');
  }
  for (const { attachment, leases } of clients) {
    lines.push(`${what} ${when} was where ${whom(attachment)} came from: ${place(attachment)}.`);
    for (const lease of leases)
      lines.push(
        `  It had ${LEASES[lease.purpose]} ${formatPrefix(lease.prefix)}, ${time(lease)}.`,
      );
  }
  if (lines.length === 0) lines.push(`Nobody had ${what.replace(/,$/, '')} ${when}.`);
  if (span.fromMs < keptSinceMs && span.fromMs <= nowMs)
    lines.push(
      `What ended before ${isoTime(keptSinceMs)} is not kept (history.attachmentsDays), so others may have.`,
    );
  if (truncated) lines.push('There is more: ask for less time, or for fewer addresses.');
  return lines;
}

const LEASES = {
  link: 'the link',
  delegation: 'the prefix',
  'ipv4-link': 'the IPv4 link',
} as const;

function whom({ user, tunnelId }: LeaseTenure | AttachmentTenure): string {
  return user === undefined
    ? `an anonymous user (tunnel ${tunnelId})`
    : `${user.name} (user ${user.id}, tunnel ${tunnelId})`;
}

function place(attachment: AttachmentTenure): string {
  const { client, port, encapsulation } = attachment;
  const address = port === 0 ? formatIp(client) : formatEndpoint({ address: client, port });
  return `${address} by ${encapsulation}, ${time(attachment)}`;
}

function time({ fromMs, untilMs }: LeaseTenure | AttachmentTenure): string {
  return `from ${isoTime(fromMs)} ${untilMs === undefined ? 'until now' : `until ${isoTime(untilMs)}`}`;
}

function toJson({ holders, clients, truncated }: AbuseAnswer) {
  return {
    holders: holders.map(({ lease, attachments }) => ({
      ...leaseJson(lease),
      clients: attachments.map(attachmentJson),
    })),
    clients: clients.map(({ attachment, leases }) => ({
      ...attachmentJson(attachment),
      addresses: leases.map(leaseJson),
    })),
    truncated,
  };
}

function tenureJson({ tunnelId, user, fromMs, untilMs }: LeaseTenure | AttachmentTenure) {
  return {
    tunnel: tunnelId,
    user: user?.name ?? null,
    userId: user?.id ?? null,
    from: isoTime(fromMs),
    until: isoTime(untilMs) ?? null,
  };
}

function leaseJson(lease: LeaseTenure) {
  return { ...tenureJson(lease), kind: lease.purpose, prefix: formatPrefix(lease.prefix) };
}

function attachmentJson(attachment: AttachmentTenure) {
  const { encapsulation, client, port } = attachment;
  return { ...tenureJson(attachment), encapsulation, address: formatIp(client), port };
}

const CSV_HEAD = [
  'tunnel',
  'user',
  'user_id',
  'kind',
  'prefix',
  'prefix_from',
  'prefix_until',
  'encapsulation',
  'client_address',
  'client_port',
  'client_from',
  'client_until',
] as const;

/** A row for each tunnel's addresses together with each place of its client. */
function toCsv({ holders, clients }: AbuseAnswer): readonly (readonly (string | number)[])[] {
  const row = (lease: LeaseTenure | undefined, attachment: AttachmentTenure | undefined) => {
    const { tunnelId, user } = (lease ?? attachment)!;
    return [
      tunnelId,
      user?.name ?? '',
      user?.id ?? '',
      lease?.purpose ?? '',
      lease ? formatPrefix(lease.prefix) : '',
      isoTime(lease?.fromMs) ?? '',
      isoTime(lease?.untilMs) ?? '',
      attachment?.encapsulation ?? '',
      attachment ? formatIp(attachment.client) : '',
      attachment?.port ?? '',
      isoTime(attachment?.fromMs) ?? '',
      isoTime(attachment?.untilMs) ?? '',
    ];
  };
  const pairs = <A, B>(
    one: A,
    many: readonly B[],
    make: (a: A, b: B | undefined) => (string | number)[],
  ) => (many.length === 0 ? [undefined] : many).map((each) => make(one, each));
  return [
    ...holders.flatMap(({ lease, attachments }) => pairs(lease, attachments, row)),
    ...clients.flatMap(({ attachment, leases }) =>
      pairs(attachment, leases, (one, lease) => row(lease, one)),
    ),
  ];
}
