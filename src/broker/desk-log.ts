// Staff's desk for what is written down: the audit log, and the abuse desk's question, who had this
// address then. Asking is an entry of the log itself.

import { formatPrefix } from '../address.ts';
import type { AuditFilter, AuditRecord } from '../store/audit-log.ts';
import type { Span } from '../store/history.ts';
import { type AbuseAnswer, whoHad } from './abuse.ts';
import { parseTime, parseWhat } from './abuse-report.ts';
import { formatCsv } from './csv.ts';
import { type Actor, actorAudit, type DeskParts } from './desk-parts.ts';

/** As people write it; what is empty matters not. */
export interface AuditQuery {
  /** An e-mail address, or `-` for the command line and for nobody. */
  readonly who: string;
  readonly act: string;
  /** Such as `user:12`. */
  readonly subject: string;
  /** Times without a zone are UTC. */
  readonly from: string;
  readonly until: string;
}

export type AuditRefusal = 'from-invalid' | 'until-invalid' | 'no-such-person';

const EXPORTED_MOST = 100_000;
const AT_ONCE = 1000;

export class AuditDesk {
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  /** `before`: the last entry of the page before. One more than `limit` says that there are more. */
  async list(
    query: AuditQuery,
    before: number | undefined,
    limit: number,
  ): Promise<readonly AuditRecord[] | AuditRefusal> {
    const filter = await this.#filter(query);
    if (typeof filter === 'string') return filter;
    return this.#parts.store.people.audit.before(before, limit, filter);
  }

  /** Every kind of act that there is an entry of. */
  async acts(): Promise<readonly string[]> {
    return this.#parts.store.people.audit.acts();
  }

  /** For spreadsheets; written down. */
  async export(query: AuditQuery, actor: Actor): Promise<string | { refusal: AuditRefusal }> {
    const filter = await this.#filter(query);
    if (typeof filter === 'string') return { refusal: filter };
    const { audit } = this.#parts.store.people;
    const details = Object.fromEntries(Object.entries(query).filter(([, text]) => text !== ''));
    await audit.append(actorAudit(actor, 'audit-export', { details }), this.#parts.clock());
    const all: AuditRecord[] = [];
    for (let before: number | undefined; all.length < EXPORTED_MOST; ) {
      const page = await audit.before(before, AT_ONCE, filter);
      all.push(...page);
      if (page.length < AT_ONCE) break;
      before = page.at(-1)?.id;
    }
    return formatCsv(
      ['id', 'time', 'person', 'email', 'act', 'subject', 'details', 'address'],
      all.map((entry) => [
        entry.id,
        new Date(entry.atMs).toISOString(),
        entry.personId ?? '',
        entry.email ?? '',
        entry.act,
        entry.subject ?? '',
        entry.details ? JSON.stringify(entry.details) : '',
        entry.address ?? '',
      ]),
    );
  }

  async #filter({
    who,
    act,
    subject,
    from,
    until,
  }: AuditQuery): Promise<AuditFilter | AuditRefusal> {
    const fromMs = from.trim() === '' ? undefined : parseTime(from);
    if (from.trim() !== '' && fromMs === undefined) return 'from-invalid';
    const untilMs = until.trim() === '' ? undefined : parseTime(until);
    if (until.trim() !== '' && untilMs === undefined) return 'until-invalid';
    let personId: number | null | undefined;
    if (who.trim() === '-') personId = null;
    else if (who.trim() !== '') {
      personId = (await this.#parts.people.staff.find(who))?.id;
      if (personId === undefined) return 'no-such-person';
    }
    return {
      personId,
      act: act.trim() || undefined,
      subjects: subject.trim() === '' ? undefined : [subject.trim()],
      fromMs,
      untilMs,
    };
  }
}

/** As people write it. Times that have no zone of their own are in `zone`. */
export interface AbuseQuestion {
  readonly address: string;
  /** Empty: any. */
  readonly port: string;
  readonly from: string;
  /** Empty: a moment, `from`. */
  readonly until: string;
  /** `Z`, or such as `+03:00`. */
  readonly zone: string;
}

export interface AbuseCase {
  /** The address or prefix, as RFC 5952 writes it. */
  readonly what: string;
  readonly port: number | undefined;
  readonly span: Span;
  readonly answer: AbuseAnswer;
  /** What ended before is not known. */
  readonly keptSinceMs: number;
  readonly askedAtMs: number;
}

export type AbuseRefusal =
  | 'address-invalid'
  | 'port-invalid'
  | 'from-invalid'
  | 'until-invalid'
  | 'time-order'
  | 'zone-invalid';

export class AbuseDesk {
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  async ask(question: AbuseQuestion, actor: Actor): Promise<AbuseCase | AbuseRefusal> {
    const { store, clock, pastKeptMs } = this.#parts;
    const nowMs = clock();
    const prefix = parseWhat(question.address.trim());
    if (!prefix) return 'address-invalid';
    const portText = question.port.trim();
    const port = portText === '' ? undefined : Number(portText);
    if (port !== undefined && !(/^\d{1,5}$/.test(portText) && port >= 1 && port <= 65_535))
      return 'port-invalid';
    if (!/^(?:Z|[+-]\d{2}:\d{2})$/.test(question.zone)) return 'zone-invalid';
    const fromMs = parseTime(question.from, question.zone);
    if (fromMs === undefined) return 'from-invalid';
    const untilMs =
      question.until.trim() === '' ? fromMs : parseTime(question.until, question.zone);
    if (untilMs === undefined) return 'until-invalid';
    if (untilMs < fromMs) return 'time-order';
    const isAddress = prefix.length === (typeof prefix.address === 'bigint' ? 128 : 32);
    const what = isAddress ? formatPrefix(prefix).split('/')[0]! : formatPrefix(prefix);
    const span = { fromMs, untilMs };
    // Before it is answered: a question that failed was asked, too.
    await store.people.audit.append(
      actorAudit(actor, 'abuse-query', {
        subject: `address:${what}`,
        details: {
          port: port ?? null,
          from: new Date(fromMs).toISOString(),
          until: new Date(untilMs).toISOString(),
        },
      }),
      nowMs,
    );
    const answer = await whoHad(store.history, prefix, port, span);
    return { what, port, span, answer, keptSinceMs: nowMs - pastKeptMs, askedAtMs: nowMs };
  }
}
