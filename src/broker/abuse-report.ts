// What was asked of the abuse desk as people write it, and its answer for machines and spreadsheets: the
// same from the command line, the portal and the API. Pure.

import {
  formatIp,
  formatPrefix,
  type IpPrefix,
  parseIp,
  parseIpv4Prefix,
  parseIpv6Prefix,
} from '../address.ts';
import type { AttachmentTenure, LeaseTenure } from '../store/history.ts';
import { type AbuseAnswer, addressAsPrefix } from './abuse.ts';
import type { CsvRow } from './csv.ts';

/** An address or a prefix. */
export function parseWhat(text: string): IpPrefix | undefined {
  const address = parseIp(text);
  if (address !== undefined) return addressAsPrefix(address);
  return parseIpv6Prefix(text) ?? parseIpv4Prefix(text);
}

/**
 * Unix milliseconds. What has no zone is read as the reader's by some and as UTC by others: here it is
 * in `zone`, such as `Z` or `+03:00`.
 */
export function parseTime(text: string, zone = 'Z'): number | undefined {
  const [, day, clock, own] =
    /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?) ?(Z|[+-]\d{2}:?\d{2})?)?$/.exec(
      text.trim(),
    ) ?? [];
  if (day === undefined) return undefined;
  const ms = Date.parse(`${day}T${clock ?? '00:00'}${own ?? zone}`);
  return Number.isNaN(ms) ? undefined : ms;
}

export function answerJson({ holders, clients, truncated }: AbuseAnswer) {
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
    from: iso(fromMs),
    until: untilMs === undefined ? null : iso(untilMs),
  };
}

export function leaseJson(lease: LeaseTenure) {
  return { ...tenureJson(lease), kind: lease.purpose, prefix: formatPrefix(lease.prefix) };
}

export function attachmentJson(attachment: AttachmentTenure) {
  const { encapsulation, client, port } = attachment;
  return { ...tenureJson(attachment), encapsulation, address: formatIp(client), port };
}

export const ANSWER_CSV_HEAD = [
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
export function answerRows({ holders, clients }: AbuseAnswer): readonly CsvRow[] {
  const row = (lease: LeaseTenure | undefined, attachment: AttachmentTenure | undefined) => {
    const { tunnelId, user } = (lease ?? attachment)!;
    return [
      tunnelId,
      user?.name ?? '',
      user?.id ?? '',
      lease?.purpose ?? '',
      lease ? formatPrefix(lease.prefix) : '',
      lease ? iso(lease.fromMs) : '',
      lease?.untilMs === undefined ? '' : iso(lease.untilMs),
      attachment?.encapsulation ?? '',
      attachment ? formatIp(attachment.client) : '',
      attachment?.port ?? '',
      attachment ? iso(attachment.fromMs) : '',
      attachment?.untilMs === undefined ? '' : iso(attachment.untilMs),
    ];
  };
  const pairs = <A, B>(one: A, many: readonly B[], make: (a: A, b: B | undefined) => CsvRow) =>
    (many.length === 0 ? [undefined] : many).map((each) => make(one, each));
  return [
    ...holders.flatMap(({ lease, attachments }) => pairs(lease, attachments, row)),
    ...clients.flatMap(({ attachment, leases }) =>
      pairs(attachment, leases, (one, lease) => row(lease, one)),
    ),
  ];
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
