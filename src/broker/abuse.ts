// The abuse desk's question: who had this address at this time. An address can be one of a tunnel's own,
// or where a tunnel's client was; both are answered, each with the other side of it. Reads the store and
// decides nothing; may reject with StoreError.

import type { IpAddress, IpPrefix } from '../address.ts';
import type { AttachmentTenure, HistoryStore, LeaseTenure, Span } from '../store/history.ts';
import type { Page, PageRequest } from '../store/pages.ts';

/** A tunnel that had addresses asked for, and where its client was meanwhile. */
export interface HolderFound {
  readonly lease: LeaseTenure;
  readonly attachments: readonly AttachmentTenure[];
}

/** A tunnel whose client was at the address asked for, and what it had meanwhile. */
export interface ClientFound {
  readonly attachment: AttachmentTenure;
  readonly leases: readonly LeaseTenure[];
}

export interface AbuseAnswer {
  readonly holders: readonly HolderFound[];
  readonly clients: readonly ClientFound[];
  /** There was more than fits an answer: ask for less time, or for fewer addresses. */
  readonly truncated: boolean;
}

/** Bounds what one question may read: of each kind, and of each tunnel found. */
const FOUND_MOST = 1000;
const OF_TUNNEL_MOST = 1000;
const AT_ONCE = 200;

/**
 * `what`: a /128 or /32 is one address, and only those can be a client's. `port`: of the client; then
 * nobody who had the address inside a tunnel is meant.
 */
export async function whoHad(
  history: HistoryStore,
  what: IpPrefix,
  port: number | undefined,
  span: Span,
): Promise<AbuseAnswer> {
  const isAddress = what.length === (typeof what.address === 'bigint' ? 128 : 32);
  let truncated = false;
  const all = async <T>(most: number, read: (page: PageRequest) => Promise<Page<T>>) => {
    const found: T[] = [];
    for (let after: string | undefined; ; ) {
      const page = await read({ after, limit: AT_ONCE });
      found.push(...page.items);
      after = page.next;
      if (after === undefined) return found;
      if (found.length >= most) {
        truncated = true;
        return found;
      }
    }
  };
  const leases =
    port === undefined ? await all(FOUND_MOST, (page) => history.holders(what, span, page)) : [];
  const attachments = isAddress
    ? await all(FOUND_MOST, (page) => history.clientsAt(what.address, port, span, page))
    : [];
  const holders: HolderFound[] = [];
  for (const lease of leases) {
    const meanwhile = together(lease, span);
    const found = await all(OF_TUNNEL_MOST, (page) =>
      history.attachmentsOf({ tunnelId: lease.tunnelId }, meanwhile, page),
    );
    holders.push({ lease, attachments: found });
  }
  const clients: ClientFound[] = [];
  for (const attachment of attachments) {
    const meanwhile = together(attachment, span);
    const found = await all(OF_TUNNEL_MOST, (page) =>
      history.leasesOf({ tunnelId: attachment.tunnelId }, meanwhile, page),
    );
    clients.push({ attachment, leases: found });
  }
  return { holders, clients, truncated };
}

/** The part of the span that the tenure was in. */
function together(
  { fromMs, untilMs }: { readonly fromMs: number; readonly untilMs: number | undefined },
  span: Span,
): Span {
  const endMs = untilMs === undefined ? span.untilMs : Math.min(span.untilMs, untilMs - 1);
  const beginMs = Math.max(span.fromMs, fromMs);
  return { fromMs: beginMs, untilMs: Math.max(beginMs, endMs) };
}

export function addressAsPrefix(address: IpAddress): IpPrefix {
  return typeof address === 'bigint' ? { address, length: 128 } : { address, length: 32 };
}
