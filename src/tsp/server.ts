// All TSP peers of one UDP socket, still pure: datagrams and results go in, datagrams and commands
// come out. Until a client has authenticated it costs no memory: VERSION, ECHO REQUEST and the
// DIGEST-MD5 challenge are answered from what their packet says. Which session a datagram belongs to
// is decided here; what the session makes of it is server-session.ts's business.

import { type Endpoint, formatEndpoint, formatIp } from '../address.ts';
import { type Answer, Dialogue, type OtherCommand } from './dialogue.ts';
import { type DigestResponse, writeChallenge } from './digest-md5.ts';
import {
  type Datagram,
  type Header,
  MAX_MESSAGE_OCTETS,
  readDatagram,
  writeDatagram,
  writeStatus,
} from './framing.ts';
import { type ConcreteTunnelType, type Mechanism, STATUS, type StatusCode } from './messages.ts';
import { Nonces } from './nonces.ts';
import { type Opening, readOpening, writeCapability } from './opening.ts';
import { writeBase64 } from './sasl.ts';
import {
  ServerSession,
  type SessionBeginning,
  type SessionEvent,
  type SessionId,
  type SessionOddity,
  type SessionResult,
} from './server-session.ts';

export interface TspServerSettings {
  /** Part of every stored DIGEST-MD5 secret; printable ASCII without comma, quote, backslash. */
  readonly realm: string;
  /** In the order in which they are announced. */
  readonly mechanisms: readonly Mechanism[];
  readonly tunnelTypes: readonly ConcreteTunnelType[];
  /** At least 16 secret octets. */
  readonly nonceKey: Uint8Array;
  readonly maxSessions: number;
  /** Many clients of one carrier share an address; one client needs one or two sessions. */
  readonly maxSessionsPerAddress: number;
  /** Out of `maxSessions`, for those whose source address may be forged: ANONYMOUS and PLAIN. */
  readonly maxUnprovenSessions: number;
}

export type ServerEvent =
  | { readonly type: 'datagram'; readonly from: Endpoint; readonly bytes: Uint8Array }
  /** What came of a command; `session` is the command's. Late results are welcome. */
  | (SessionResult & { readonly session: SessionId })
  | { readonly type: 'tick' };

export type ServerCommand =
  | { readonly type: 'send'; readonly to: Endpoint; readonly bytes: Uint8Array }
  | Exclude<OtherCommand, { readonly type: 'count' }>
  | { readonly type: 'count'; readonly what: Oddity };

/** Input that was dropped, refused or answered from the cache. */
export type Oddity =
  | SessionOddity
  /** First nibble not F, or shorter than the header. */
  | 'not-tsp'
  | 'oversized'
  /** No session, and nothing that could begin one. */
  | 'unrecognised'
  /** An old repetition, or out of order. */
  | 'stale'
  | 'repetition'
  | 'version-refused'
  | 'mechanism-refused'
  | 'nonce-refused'
  | 'busy';

/** gogoc gives up after 66 s, so an older nonce belongs to nobody who still waits. */
const NONCE_LIFETIME_MS = 120_000;

/** How long a network may hold back a copy of a message. */
const COPY_LIFETIME_MS = 10_000;

/** One address and port. Two sessions at most: see {@link TspServer}. */
interface Peer {
  readonly key: string;
  readonly endpoint: Endpoint;
  current: Member | undefined;
  successor: Member | undefined;
}

interface Member {
  readonly peer: Peer;
  readonly dialogue: Dialogue;
  readonly unproven: boolean;
}

/**
 * A peer that begins again on the same port gets a second session beside its first. It takes the
 * first one's place when it is authenticated and asks for something; until then the first goes on.
 * So neither a forged VERSION nor a late copy of a real one can end a login or touch a tunnel.
 */
export class TspServer {
  readonly #settings: TspServerSettings;
  readonly #nonces: Nonces;
  readonly #capability: string;
  readonly #peers = new Map<string, Peer>();
  /** Ordered by last activity, which is the order of their deadlines. */
  readonly #sessions = new Map<SessionId, Member>();
  readonly #perAddress = new Map<string, number>();
  #unproven = 0;
  #lastId = 0;

  /** Throws a RangeError when the settings cannot be told to clients or are not safe. */
  constructor(settings: TspServerSettings) {
    if (!/^[!#-+.-[\]-~-]{1,100}$/.test(settings.realm)) {
      throw new RangeError(`a realm clients can read is needed, not ${settings.realm}`);
    }
    if (settings.nonceKey.length < 16) throw new RangeError('the nonce key is too short');
    this.#settings = settings;
    this.#nonces = new Nonces(settings.nonceKey, NONCE_LIFETIME_MS, 4 * settings.maxSessions);
    this.#capability = writeCapability(settings.tunnelTypes, settings.mechanisms);
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Never throws. `nowMs` must not go back. Commands are to be carried out in order. */
  handle(event: ServerEvent, nowMs: number): ServerCommand[] {
    const overdue = this.#endOverdue(nowMs);
    if (event.type === 'tick') return overdue;
    const commands =
      event.type === 'datagram'
        ? this.#receive(event.from, event.bytes, nowMs)
        : this.#conclude(event.session, event, nowMs);
    return [...overdue, ...commands];
  }

  /** When a `tick` has something to do; undefined when there is nothing to wait for. */
  deadline(): number | undefined {
    for (const { dialogue } of this.#sessions.values()) return dialogue.session.deadline();
    return undefined;
  }

  #receive(from: Endpoint, bytes: Uint8Array, nowMs: number): ServerCommand[] {
    const datagram = readDatagram(bytes);
    if (!datagram) return [count('not-tsp')];
    if (datagram.payload.length > MAX_MESSAGE_OCTETS) return [count('oversized')];
    const peer = this.#peers.get(formatEndpoint(from));
    const opening = readOpening(datagram.payload);
    const continued = peer && this.#continue(peer, datagram, opening, nowMs);
    if (continued) return continued;
    const { header } = datagram;
    switch (opening.type) {
      case 'version':
        return this.#greet(from, header, opening.supported, peer !== undefined);
      case 'echo':
        return [send(from, { header, data: writeStatus(STATUS.success) })];
      case 'authenticate':
        return this.#authenticate(from, datagram, opening.mechanism, peer, nowMs);
      case 'digest-response':
        return this.#respond(from, datagram, opening.response, nowMs);
      case 'other':
        return [count(peer ? 'stale' : 'unrecognised')];
    }
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
        return [count('repetition'), ...(answer ? [send(peer.endpoint, answer)] : [])];
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
    const commands = fetched
      ? [send(peer.endpoint, fetched), ...this.#tell(member, { type: 'fetched' }, nowMs)]
      : this.#tell(member, { type: 'message', payload }, nowMs, header);
    return [...before, ...commands];
  }

  #greet(from: Endpoint, header: Header, supported: boolean, known: boolean): ServerCommand[] {
    if (!supported) {
      return refuse(from, header, STATUS.versionNotSupported, 'version-refused');
    }
    // gogoc comes back later only when it is told so here, not when it authenticates.
    if (!known && this.#isFull(from, false)) return refuse(from, header, STATUS.busy, 'busy');
    return [send(from, { header, data: this.#capability })];
  }

  #authenticate(
    from: Endpoint,
    datagram: Datagram,
    name: string,
    peer: Peer | undefined,
    nowMs: number,
  ): ServerCommand[] {
    const { header } = datagram;
    const mechanism = this.#settings.mechanisms.find((offered) => offered === name);
    if (mechanism === undefined) {
      return refuse(from, header, STATUS.authenticationFailed, 'mechanism-refused');
    }
    if (mechanism === 'DIGEST-MD5') {
      const nonce = this.#nonces.issue(from, nowMs);
      const data = writeBase64(writeChallenge(this.#settings.realm, nonce));
      return [send(from, { header, data })];
    }
    if (peer?.current && looksLate(peer.current.dialogue, datagram, nowMs)) {
      return [count('stale')];
    }
    return this.#begin(from, datagram, { mechanism }, nowMs);
  }

  #respond(
    from: Endpoint,
    datagram: Datagram,
    response: DigestResponse,
    nowMs: number,
  ): ServerCommand[] {
    const offered = this.#settings.mechanisms.includes('DIGEST-MD5');
    const verdict = offered ? this.#nonces.check(response.nonce, from, nowMs) : 'foreign';
    switch (verdict) {
      case 'used':
        return [count('stale')];
      case 'full':
        return refuse(from, datagram.header, STATUS.busy, 'busy');
      case 'foreign':
        return refuse(from, datagram.header, STATUS.authenticationFailed, 'nonce-refused');
      case 'fresh':
        return this.#begin(from, datagram, { mechanism: 'DIGEST-MD5', response }, nowMs);
    }
  }

  #begin(from: Endpoint, opening: Datagram, how: SessionBeginning, nowMs: number): ServerCommand[] {
    const key = formatEndpoint(from);
    const known = this.#peers.get(key);
    const shown = known?.successor?.dialogue.session.authenticated;
    const before = shown
      ? this.#promote(known, nowMs)
      : this.#end(known?.successor, { type: 'replaced' }, nowMs);
    const unproven = how.mechanism !== 'DIGEST-MD5';
    if (this.#isFull(from, unproven)) {
      return [...before, ...refuse(from, opening.header, STATUS.busy, 'busy')];
    }
    if (how.mechanism === 'DIGEST-MD5') this.#nonces.spend(how.response.nonce, nowMs);
    const peer = this.#peers.get(key) ?? newPeer(key, from);
    this.#peers.set(key, peer);
    const { realm, tunnelTypes } = this.#settings;
    const id = ++this.#lastId;
    const facts = { id, source: peer.endpoint, transport: 'udp', realm, tunnelTypes } as const;
    const dialogue = new Dialogue(new ServerSession(facts, nowMs), opening);
    const member = { peer, dialogue, unproven };
    if (peer.current) peer.successor = member;
    else peer.current = member;
    this.#sessions.set(id, member);
    this.#recount(member, 1);
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
    const { peer, dialogue } = member;
    const { answers, others } = dialogue.settle(dialogue.session.handle(event, nowMs), header);
    this.#sessions.delete(dialogue.session.id);
    this.#sessions.set(dialogue.session.id, member);
    return [...answers.map((answer) => send(peer.endpoint, answer)), ...others];
  }

  #end(member: Member | undefined, event: SessionEvent, nowMs: number): ServerCommand[] {
    if (!member) return [];
    const { peer, dialogue } = member;
    const { others } = dialogue.settle(dialogue.session.handle(event, nowMs));
    this.#sessions.delete(dialogue.session.id);
    this.#recount(member, -1);
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

  #isFull({ address }: Endpoint, unproven: boolean): boolean {
    const { maxSessions, maxSessionsPerAddress, maxUnprovenSessions } = this.#settings;
    return (
      this.#sessions.size >= maxSessions ||
      (this.#perAddress.get(formatIp(address)) ?? 0) >= maxSessionsPerAddress ||
      (unproven && this.#unproven >= maxUnprovenSessions)
    );
  }

  #recount({ peer, unproven }: Member, change: 1 | -1): void {
    const address = formatIp(peer.endpoint.address);
    const count = (this.#perAddress.get(address) ?? 0) + change;
    if (count > 0) this.#perAddress.set(address, count);
    else this.#perAddress.delete(address);
    if (unproven) this.#unproven += change;
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

function newPeer(key: string, { address, port }: Endpoint): Peer {
  const endpoint = { address, port };
  return { key, endpoint, current: undefined, successor: undefined };
}
