// All TSP peers of one UDP socket, still pure: datagrams and results go in, datagrams and commands
// come out. Until a client has authenticated it costs no memory: VERSION, ECHO REQUEST and the
// DIGEST-MD5 challenge are answered from what their packet says. Which session a datagram belongs to
// is decided here; what the session makes of it is server-session.ts's business.

import { type Endpoint, endpointKey } from '../address.ts';
import { QueueMap } from '../queue-map.ts';
import { AnswerBudget, twice } from './answer-budget.ts';
import type { SaltResult } from './connection.ts';
import { Crowd } from './crowd.ts';
import { type Answer, Dialogue, type OtherCommand } from './dialogue.ts';
import {
  type Datagram,
  type Header,
  MAX_MESSAGE_OCTETS,
  readDatagram,
  writeDatagram,
  writeStatus,
} from './framing.ts';
import { STATUS, type StatusCode } from './messages.ts';
import { type Opening, readOpening } from './opening.ts';
import { Reception, type ReceptionOddity, type ReceptionSettings } from './reception.ts';
import type { ScramFirst } from './scram.ts';
import {
  ServerSession,
  type SessionBeginning,
  type SessionEvent,
  type SessionId,
  type SessionOddity,
  type SessionResult,
} from './server-session.ts';

export interface TspServerSettings extends ReceptionSettings {
  readonly maxSessions: number;
  /** Many clients of one carrier share an address; one client needs one or two sessions. */
  readonly maxSessionsPerAddress: number;
  /** Out of `maxSessions`, for those whose source address may be forged: ANONYMOUS and PLAIN. */
  readonly maxUnprovenSessions: number;
}

/** Where the server's first message of SCRAM is to go; the server keeps nothing meanwhile. */
export interface SaltTicket {
  readonly from: Endpoint;
  readonly header: Header;
  readonly requestOctets: number;
}

export type ServerEvent =
  | { readonly type: 'datagram'; readonly from: Endpoint; readonly bytes: Uint8Array }
  /** What came of a command; `session` is the command's. Late results are welcome. */
  | (SessionResult & { readonly session: SessionId })
  | (SaltResult & { readonly ticket: SaltTicket })
  | { readonly type: 'tick' };

export type ServerCommand =
  | { readonly type: 'send'; readonly to: Endpoint; readonly bytes: Uint8Array }
  /** → `salt-looked-up`, with the same ticket. */
  | {
      readonly type: 'look-up-salt';
      readonly first: ScramFirst;
      readonly ticket: SaltTicket;
    }
  | Exclude<OtherCommand, { readonly type: 'count' }>
  | { readonly type: 'count'; readonly what: Oddity };

/** Input that was dropped, refused or answered from the cache. */
export type Oddity =
  | SessionOddity
  | ReceptionOddity
  /** First nibble not F, or shorter than the header. */
  | 'not-tsp'
  | 'oversized'
  /** No session, and nothing that could begin one. */
  | 'unrecognised'
  /** An old repetition, or out of order. */
  | 'stale'
  | 'repetition'
  | 'busy'
  | 'salt-unavailable'
  /** The answer would be too much for a network that may not have asked: see AnswerBudget. */
  | 'over-budget';

/** Salts that are looked up at once; a client whose turn it is not repeats its message. */
const MAX_SALT_LOOKUPS = 200;

/** How long a network may hold back a copy of a message. */
const COPY_LIFETIME_MS = 10_000;

/** So much later than due a session may end. */
const MOVE_EVERY_MS = 500;

/** How many of the oldest sessions are looked at for one that may go. */
const DISPENSABLE_AMONG = 16;

/** One address and port. Two sessions at most: see {@link TspServer}. */
interface Peer {
  readonly key: number | string;
  readonly endpoint: Endpoint;
  current: Member | undefined;
  successor: Member | undefined;
}

interface Member {
  readonly peer: Peer;
  readonly dialogue: Dialogue;
  /** The source address may be forged: nothing had to be sent back that was sent there. */
  readonly unproven: boolean;
  /** Length of the last message's text. */
  requestOctets: number;
  /** When it was last put behind the others. */
  movedMs: number;
}

/**
 * A peer that begins again on the same port gets a second session beside its first. It takes the
 * first one's place when it is authenticated and asks for something; until then the first goes on.
 * So neither a forged VERSION nor a late copy of a real one can end a login or touch a tunnel.
 */
export class TspServer {
  readonly #settings: TspServerSettings;
  readonly #reception: Reception;
  readonly #budget: AnswerBudget;
  readonly #peers = new Map<number | string, Peer>();
  /** Ordered by last activity, to within {@link MOVE_EVERY_MS}, which is the order of their deadlines. */
  readonly #sessions = new QueueMap<SessionId, Member>();
  readonly #crowd: Crowd;
  #unproven = 0;
  #saltLookups = 0;
  #lastId = 0;

  /**
   * Throws a RangeError when the settings cannot be told to clients or are not safe. A server that
   * listens on TCP too has one reception for both, so that no nonce serves twice.
   */
  constructor(settings: TspServerSettings, reception?: Reception) {
    this.#settings = settings;
    this.#crowd = new Crowd(settings.maxSessions, settings.maxSessionsPerAddress);
    this.#reception = reception ?? new Reception(settings, 4 * settings.maxSessions);
    this.#budget = new AnswerBudget(settings.nonceKey);
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Never throws. `nowMs` must not go back. Commands are to be carried out in order. */
  handle(event: ServerEvent, nowMs: number): ServerCommand[] {
    const overdue = this.#endOverdue(nowMs);
    if (event.type === 'tick') return overdue;
    return [...overdue, ...this.#act(event, nowMs)];
  }

  /** When a `tick` has something to do; undefined when there is nothing to wait for. */
  deadline(): number | undefined {
    return this.#sessions.oldest?.dialogue.session.deadline();
  }

  #act(event: Exclude<ServerEvent, { readonly type: 'tick' }>, nowMs: number): ServerCommand[] {
    switch (event.type) {
      case 'datagram':
        return this.#receive(event.from, event.bytes, nowMs);
      case 'salt-looked-up': {
        const { first, found, ticket } = event;
        const { from, header, requestOctets } = ticket;
        this.#saltLookups--;
        if (found === 'failed') return refuse(from, header, STATUS.serverError, 'salt-unavailable');
        const data = this.#reception.serverFirst(first, found, from, nowMs);
        return this.#sendUnproven(from, { header, data }, requestOctets, nowMs);
      }
      default:
        return this.#conclude(event.session, event, nowMs);
    }
  }

  #receive(from: Endpoint, bytes: Uint8Array, nowMs: number): ServerCommand[] {
    const datagram = readDatagram(bytes);
    if (!datagram) return [count('not-tsp')];
    if (datagram.payload.length > MAX_MESSAGE_OCTETS) return [count('oversized')];
    const peer = this.#peers.get(endpointKey(from));
    const opening = readOpening(datagram.payload);
    const continued = peer && this.#continue(peer, datagram, opening, nowMs);
    if (continued) return continued;
    // gogoc comes back later only when it is told so here, not when it authenticates.
    const comesNew = opening.type === 'version' && opening.supported && !peer;
    if (comesNew && this.#isFull(from, false, nowMs)) {
      return refuse(from, datagram.header, STATUS.busy, 'busy');
    }
    return this.#open(from, datagram, opening, peer, nowMs);
  }

  /** Undefined when `datagram` belongs to no session of the peer. The successor is asked first. */
  #continue(
    peer: Peer,
    datagram: Datagram,
    opening: Opening,
    nowMs: number,
  ): ServerCommand[] | undefined {
    for (const member of [peer.successor, peer.current]) {
      const relation = member?.dialogue.relation(datagram) ?? 'unrelated';
      if (!member || relation === 'unrelated') continue;
      if (relation === 'repetition') {
        const answer = member.dialogue.repeat(datagram.header);
        return [count('repetition'), ...(answer ? this.#send(member, answer, nowMs) : [])];
      }
      // What begins a session is never part of one, wherever its count stands.
      if (opening.type === 'other') return this.#advance(member, datagram, nowMs);
    }
    return undefined;
  }

  #advance(member: Member, datagram: Datagram, nowMs: number): ServerCommand[] {
    const { peer, dialogue } = member;
    const takesOver = peer.successor === member && dialogue.session.authenticated;
    const before = takesOver ? this.#promote(peer, nowMs) : [];
    const fetched = dialogue.advance(datagram);
    const { header, payload } = datagram;
    member.requestOctets = payload.length;
    const commands = fetched
      ? [...this.#send(member, fetched, nowMs), ...this.#tell(member, { type: 'fetched' }, nowMs)]
      : this.#tell(member, { type: 'message', payload }, nowMs, header);
    return [...before, ...commands];
  }

  #open(
    from: Endpoint,
    datagram: Datagram,
    opening: Opening,
    peer: Peer | undefined,
    nowMs: number,
  ): ServerCommand[] {
    const { header, payload } = datagram;
    const greetingOctets = twice(from, payload.length);
    const reply = this.#reception.reply(opening, from, greetingOctets, nowMs);
    switch (reply.type) {
      case 'say': {
        const said = this.#sendUnproven(from, { header, data: reply.data }, payload.length, nowMs);
        return reply.oddity === undefined ? said : [count(reply.oddity), ...said];
      }
      case 'go-on':
        return [send(from, { header, data: '' })];
      case 'begin': {
        const unproven = reply.nonce === undefined;
        if (unproven && peer?.current && looksLate(peer.current.dialogue, datagram, nowMs)) {
          return [count('stale')];
        }
        return this.#begin(from, datagram, reply.with, reply.nonce, nowMs);
      }
      case 'look-up-salt': {
        if (this.#saltLookups >= MAX_SALT_LOOKUPS) return [count('busy')];
        this.#saltLookups++;
        const ticket = { from, header, requestOctets: payload.length };
        return [{ type: 'look-up-salt', first: reply.first, ticket }];
      }
      case 'stale':
        return [count('stale')];
      case 'busy':
        return refuse(from, header, STATUS.busy, 'busy');
      case 'unrecognised':
        return [count(peer ? 'stale' : 'unrecognised')];
    }
  }

  #begin(
    from: Endpoint,
    opening: Datagram,
    how: SessionBeginning,
    nonce: string | undefined,
    nowMs: number,
  ): ServerCommand[] {
    const key = endpointKey(from);
    const known = this.#peers.get(key);
    const shown = known?.successor?.dialogue.session.authenticated;
    const before = shown
      ? this.#promote(known, nowMs)
      : this.#end(known?.successor, { type: 'replaced' }, nowMs);
    const unproven = nonce === undefined;
    if (this.#isFull(from, unproven, nowMs)) {
      return [...before, ...refuse(from, opening.header, STATUS.busy, 'busy')];
    }
    before.push(...this.#end(this.#dispensable(nowMs), { type: 'replaced' }, nowMs));
    if (nonce !== undefined) this.#reception.spend(nonce, nowMs);
    const peer = this.#peers.get(key) ?? newPeer(key, from);
    this.#peers.set(key, peer);
    const { realm, tunnelTypes, redirect } = this.#settings;
    const id = ++this.#lastId;
    const facts = {
      id,
      source: peer.endpoint,
      transport: 'udp',
      realm,
      tunnelTypes,
      ...(redirect && { redirect }),
    } as const;
    const dialogue = new Dialogue(new ServerSession(facts, nowMs), opening);
    const requestOctets = opening.payload.length;
    const member = { peer, dialogue, unproven, requestOctets, movedMs: nowMs };
    if (peer.current) peer.successor = member;
    else peer.current = member;
    this.#sessions.put(id, member);
    this.#crowd.enter(from.address);
    if (unproven) this.#unproven++;
    const begin = { type: 'begin', with: how } as const;
    return [...before, ...this.#tell(member, begin, nowMs, opening.header)];
  }

  #promote(peer: Peer, nowMs: number): ServerCommand[] {
    const commands = this.#end(peer.current, { type: 'replaced' }, nowMs);
    peer.current = peer.successor;
    peer.successor = undefined;
    return commands;
  }

  #conclude(id: SessionId, result: SessionResult, nowMs: number): ServerCommand[] {
    const member = this.#sessions.get(id);
    if (member) return this.#tell(member, result, nowMs);
    if (result.type !== 'tunnel-offered') return [];
    // The session ended while the broker worked.
    return [{ type: 'reject-tunnel', session: id, offerId: result.offerId }];
  }

  /** `header` is that of the message which `event` stands for, if it stands for one. */
  #tell(member: Member, event: SessionEvent, nowMs: number, header?: Header): ServerCommand[] {
    const { dialogue } = member;
    const { answers, others } = dialogue.settle(dialogue.session.handle(event, nowMs), header);
    this.#moveBack(member, nowMs);
    const sent = answers.length === 0 ? [] : this.#sendAll(member, answers, nowMs);
    return others.length === 0 ? sent : [...sent, ...others];
  }

  /** Not for every message: a login has five, and a map of all sessions is slow to change. */
  #moveBack(member: Member, nowMs: number): void {
    if (nowMs - member.movedMs < MOVE_EVERY_MS) return;
    member.movedMs = nowMs;
    const { id } = member.dialogue.session;
    this.#sessions.put(id, member);
  }

  #sendAll(member: Member, answers: readonly Answer[], nowMs: number): ServerCommand[] {
    if (answers.length === 1) return this.#send(member, answers[0]!, nowMs);
    return answers.flatMap((answer) => this.#send(member, answer, nowMs));
  }

  #send(member: Member, answer: Answer, nowMs: number): ServerCommand[] {
    const { endpoint } = member.peer;
    return member.unproven
      ? this.#sendUnproven(endpoint, answer, member.requestOctets, nowMs)
      : [send(endpoint, answer)];
  }

  #sendUnproven(
    to: Endpoint,
    answer: Answer,
    requestOctets: number,
    nowMs: number,
  ): ServerCommand[] {
    const octets = Buffer.byteLength(answer.data);
    return this.#budget.allows(to, requestOctets, octets, nowMs)
      ? [send(to, answer)]
      : [count('over-budget')];
  }

  #end(member: Member | undefined, event: SessionEvent, nowMs: number): ServerCommand[] {
    if (!member) return [];
    const { peer, dialogue } = member;
    const { others } = dialogue.settle(dialogue.session.handle(event, nowMs));
    this.#sessions.delete(dialogue.session.id);
    this.#crowd.leave(peer.endpoint.address);
    if (member.unproven) this.#unproven--;
    if (peer.current === member) peer.current = undefined;
    if (peer.successor === member) peer.successor = undefined;
    if (!peer.current && !peer.successor) this.#peers.delete(peer.key);
    return [...others];
  }

  #endOverdue(nowMs: number): ServerCommand[] {
    const commands: ServerCommand[] = [];
    for (const member of this.#sessions.values()) {
      if (member.dialogue.session.deadline() > nowMs) break;
      commands.push(...this.#end(member, { type: 'tick' }, nowMs));
    }
    return commands;
  }

  /** In a full house, one that has done its work makes room for another. */
  #dispensable(nowMs: number): Member | undefined {
    if (this.#sessions.size < this.#settings.maxSessions) return undefined;
    let looked = 0;
    for (const member of this.#sessions.values()) {
      const { session } = member.dialogue;
      const isRecent = session.lastActivityMs + COPY_LIFETIME_MS > nowMs;
      if (isRecent || ++looked > DISPENSABLE_AMONG) return undefined;
      if (session.finished) return member;
    }
    return undefined;
  }

  #isFull({ address }: Endpoint, unproven: boolean, nowMs: number): boolean {
    return (
      !this.#crowd.hasRoomFor(address, this.#dispensable(nowMs) ? 1 : 0) ||
      (unproven && this.#unproven >= this.#settings.maxUnprovenSessions)
    );
  }
}

/**
 * Clients that begin again on their port may use the very octets of the first time, and nothing that a
 * server said is in them. So they are copies while the session is busy, and a client that means them
 * repeats them. (A DIGEST-MD5 response has its nonce instead.)
 */
function looksLate(dialogue: Dialogue, datagram: Datagram, nowMs: number): boolean {
  const { closed, lastActivityMs } = dialogue.session;
  return !closed && nowMs < lastActivityMs + COPY_LIFETIME_MS && dialogue.beganWith(datagram);
}

function refuse(to: Endpoint, header: Header, status: StatusCode, what: Oddity): ServerCommand[] {
  return [count(what), send(to, { header, data: writeStatus(status) })];
}

function send(to: Endpoint, { header, data }: Answer): ServerCommand {
  return { type: 'send', to, bytes: writeDatagram(header, Buffer.from(data)) };
}

function count(what: Oddity): ServerCommand {
  return { type: 'count', what };
}

function newPeer(key: number | string, { address, port }: Endpoint): Peer {
  const endpoint = { address, port };
  return { key, endpoint, current: undefined, successor: undefined };
}
