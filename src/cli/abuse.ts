// `sixway abuse …`: who had an address at a time, for the desk that answers complaints. In words for
// people, as JSON or CSV for the file.

import type { Command } from 'commander';
import { formatEndpoint, formatIp, formatPrefix } from '../address.ts';
import { type AbuseAnswer, whoHad } from '../broker/abuse.ts';
import {
  ANSWER_CSV_HEAD,
  answerJson,
  answerRows,
  parseTime,
  parseWhat,
} from '../broker/abuse-report.ts';
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
      const what = parseWhat(text) ?? fail(`${text} is no address and no prefix`);
      const port =
        flags.port === undefined ? undefined : wholeNumber('--port', flags.port, 1, 65535);
      const span = spanOf(flags, Date.now());
      const { config } = configOf(flags);
      const { attachmentsDays } = config.history;
      const answer = await withStore(config, (store) => whoHad(store.history, what, port, span));
      const kept = Date.now() - attachmentsDays * 86_400_000;
      if (flags.json) printJson(answerJson(answer));
      else if (flags.csv) printCsv(ANSWER_CSV_HEAD, answerRows(answer));
      else
        for (const line of inWords(text, port, span, answer, kept, Date.now())) console.log(line);
    });
}

/** Throws CommandFailed. The end of a span is not before its beginning. */
export function spanOf(flags: Pick<Flags, 'at' | 'from' | 'until'>, nowMs: number): Span {
  const { at, from, until } = flags;
  if (at !== undefined && (from !== undefined || until !== undefined))
    fail('say either --at, or --from and perhaps --until');
  if (until !== undefined && from === undefined) fail('--until needs --from');
  if (from === undefined) {
    const atMs = at === undefined ? nowMs : timeOf('--at', at);
    return { fromMs: atMs, untilMs: atMs };
  }
  const fromMs = timeOf('--from', from);
  const untilMs = until === undefined ? nowMs : timeOf('--until', until);
  if (untilMs < fromMs) fail('--until is before --from');
  return { fromMs, untilMs };
}

function timeOf(name: string, text: string): number {
  return parseTime(text) ?? fail(`${name} is a time such as 2026-11-25T09:30:00Z`);
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
