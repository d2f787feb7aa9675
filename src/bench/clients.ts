// The clients that the load generator plays: who logs in from where, what becomes of each, and what of
// it is counted. Every login is a real ClientSession. Opens no socket and reads no clock: datagrams
// and the time come in, datagrams go out by a function.

import { randomBytes } from 'node:crypto';
import {
  type ClientCommand,
  type ClientEnd,
  type ClientEvent,
  ClientSession,
  VERSIONS,
} from '../tsp/client-session.ts';
import type { TunnelInfo } from '../tsp/messages.ts';
import { Alarms, type Sleeper } from './alarms.ts';
import { readEchoReply, writeEcho } from './echo.ts';
import { type BenchPlan, Endpoints, type OwnEndpoint, userName } from './plan.ts';
import type { Tally } from './tally.ts';

/** `resident`: stays up and is kept alive; `visitor`: has only its login counted. */
export type Role = 'resident' | 'visitor';

/** Why a login came to nothing: a status code, or the end's name. */
export type Cause = number | Exclude<ClientEnd['reason'], 'stopped'> | 'lost';

/** Hears of a login that has come to a tunnel, before it is counted; `user` is undefined for nobody. */
export type Journal = (user: string | undefined, from: OwnEndpoint, tunnel: TunnelInfo) => void;

/** What the people are called by that a login may be of. */
interface Person {
  /** Undefined: nobody, with ANONYMOUS. */
  readonly user: number | undefined;
  /** Which of {@link Endpoints}. */
  readonly place: number;
}

/** Users that have logged in, to be drawn from for renewals and moves. */
const REMEMBERED = 8192;
/** How many users or endpoints are looked at for a free one. */
const TRIES = 64;

export class Clients {
  readonly failures = new Map<Cause, number>();
  readonly #plan: BenchPlan;
  readonly #tally: Tally;
  readonly #transmit: (from: OwnEndpoint, bytes: Uint8Array) => void;
  readonly #journal: Journal | undefined;
  readonly #endpoints: Endpoints;
  readonly #alarms: Alarms<Client>;
  /** By endpoint. */
  readonly #clients = new Map<number, Client>();
  readonly #usersUnderWay = new Set<number>();
  readonly #known: Person[] = [];
  #knownNext = 0;
  #nextPerson: number;
  #nextPlace: number;
  #underWay = 0;
  #octets = Buffer.alloc(0);
  #octetsUsed = 0;

  constructor(
    plan: BenchPlan,
    tally: Tally,
    transmit: (from: OwnEndpoint, bytes: Uint8Array) => void,
    nowMs: number,
    journal?: Journal,
  ) {
    this.#plan = plan;
    this.#journal = journal;
    this.#tally = tally;
    this.#transmit = transmit;
    this.#endpoints = new Endpoints(plan.from, plan.ports);
    this.#alarms = new Alarms(nowMs);
    // The first ones are the residents.
    this.#nextPerson = plan.hold;
    this.#nextPlace = plan.users;
  }

  /** Logins that have begun and not ended. */
  get underWay(): number {
    return this.#underWay;
  }

  /** The resident of that number logs in; true unless its endpoint is taken. */
  beginResident(index: number, nowMs: number): boolean {
    return this.#begin('resident', this.#personAt(index), nowMs, false, nowMs);
  }

  /** Somebody logs in; false: nobody is free to. */
  beginVisitor(dueMs: number, measured: boolean, nowMs: number): boolean {
    const person = this.#choose();
    return person !== undefined && this.#begin('visitor', person, dueMs, measured, nowMs);
  }

  receive(socket: number, address: number, bytes: Uint8Array, nowMs: number): void {
    const key = this.#endpoints.keyOf(address, socket);
    const client = key === undefined ? undefined : this.#clients.get(key);
    if (!client) return;
    if (bytes.length > 0 && bytes[0]! >>> 4 === 6) {
      const sequence = readEchoReply(bytes);
      if (sequence === undefined) return;
      this.#tally.count('keepalivesAnswered');
      this.#feed(client, { type: 'tunnel-traffic' }, nowMs);
      this.#feed(client, { type: 'keepalive-answered', sequence }, nowMs);
      return;
    }
    this.#feed(client, { type: 'received', bytes }, nowMs);
  }

  expire(nowMs: number): void {
    this.#alarms.ring(nowMs, (client) => {
      if (client.isOverdue(nowMs)) this.#beginAnew(client, nowMs);
      else this.#feed(client, { type: 'tick' }, nowMs);
    });
  }

  #begin(role: Role, person: Person, dueMs: number, measured: boolean, nowMs: number): boolean {
    const endpoint = this.#endpoints.at(person.place);
    if (this.#clients.has(endpoint.key)) return false;
    const client = new Client(
      role,
      person,
      endpoint,
      this.#sessionOf(person, endpoint),
      dueMs,
      measured,
    );
    this.#clients.set(endpoint.key, client);
    if (person.user !== undefined) this.#usersUnderWay.add(person.user);
    this.#underWay++;
    if (measured) this.#tally.count('begun');
    this.#start(client, nowMs);
    return true;
  }

  #sessionOf({ user }: Person, endpoint: OwnEndpoint): ClientSession {
    const { mechanism, serverName, prefixLength, namePrefix, secret } = this.#plan;
    return new ClientSession({
      transport: 'udp',
      version: VERSIONS[0],
      mechanisms: [mechanism],
      ...(user !== undefined && {
        login: { username: userName(namePrefix, user), password: secret },
      }),
      serverName,
      tunnelType: 'v6udpv4',
      clientAddress: endpoint.address,
      keepaliveSeconds: 30,
      ...(prefixLength !== undefined && { prefixLength }),
      cnonce: this.#freshText(),
      jitterSeed: Math.floor(Math.random() * 2 ** 32),
    });
  }

  #start(client: Client, nowMs: number): void {
    const { retrySeconds } = this.#plan;
    if (retrySeconds !== undefined) client.patientUntilMs = nowMs + retrySeconds * 1000;
    this.#feed(client, { type: 'start' }, nowMs);
  }

  /** From the same endpoint, as a person who tries again; the time counts from the first try. */
  #beginAnew(client: Client, nowMs: number): void {
    if (client.measured) this.#tally.count('retried');
    client.session = this.#sessionOf(client.person, client.endpoint);
    this.#start(client, nowMs);
  }

  /** 24 characters. The system is asked for random octets of many at once: that is what takes time. */
  #freshText(): string {
    if (this.#octetsUsed === this.#octets.length) {
      this.#octets = randomBytes(12 * 512);
      this.#octetsUsed = 0;
    }
    this.#octetsUsed += 12;
    return this.#octets.toString('hex', this.#octetsUsed - 12, this.#octetsUsed);
  }

  #feed(client: Client, event: ClientEvent, nowMs: number): void {
    for (const command of client.session.handle(event, nowMs)) {
      this.#carryOut(client, command, event, nowMs);
    }
    this.#alarms.set(client);
  }

  #carryOut(client: Client, command: ClientCommand, event: ClientEvent, nowMs: number): void {
    switch (command.type) {
      case 'send':
        if (event.type === 'tick' && client.measured) this.#tally.count('repetitions');
        this.#transmit(client.endpoint, command.bytes);
        return;
      case 'tunnel-up':
        this.#settle(client, command.tunnel, nowMs);
        return;
      case 'send-keepalive':
        if (client.inside === undefined || typeof command.address !== 'bigint') return;
        this.#tally.count('keepalivesSent');
        this.#transmit(
          client.endpoint,
          writeEcho(client.inside, command.address, command.sequence),
        );
        return;
      case 'ended':
        this.#end(client, command.end);
        return;
    }
  }

  /** The login has come to a tunnel. */
  #settle(client: Client, tunnel: TunnelInfo, nowMs: number): void {
    const { role, measured, person } = client;
    const { user } = person;
    const name = user === undefined ? undefined : userName(this.#plan.namePrefix, user);
    this.#journal?.(name, client.endpoint, tunnel);
    this.#finish(client);
    if (measured) {
      this.#tally.count('succeeded');
      this.#tally.record(nowMs - client.dueMs);
    }
    if (role === 'resident') {
      client.inside = tunnel.clientIpv6;
      this.#tally.count('held');
      return;
    }
    if (this.#plan.leaving > 0 && Math.random() < this.#plan.leaving) {
      this.#feed(client, { type: 'leave' }, nowMs);
      return;
    }
    this.#remember(person);
    this.#forget(client);
  }

  #end(client: Client, end: ClientEnd): void {
    const { role } = client;
    if (client.underWay) {
      if (client.patientUntilMs !== undefined) return;
      this.#finish(client);
      if (client.measured) this.#tally.count('failed');
      if (client.measured || role === 'resident') this.#note(causeOf(end));
    } else if (role === 'resident') {
      if (end.reason !== 'stopped') this.#tally.count('lost');
    } else if (end.reason === 'stopped') {
      this.#tally.count('left');
    } else {
      this.#note(causeOf(end));
    }
    this.#forget(client);
  }

  #finish(client: Client): void {
    client.underWay = false;
    client.patientUntilMs = undefined;
    this.#underWay--;
    const { user } = client.person;
    if (user !== undefined) this.#usersUnderWay.delete(user);
  }

  #forget(client: Client): void {
    client.gone = true;
    this.#clients.delete(client.endpoint.key);
  }

  #note(cause: Cause): void {
    this.failures.set(cause, (this.failures.get(cause) ?? 0) + 1);
  }

  #remember(person: Person): void {
    const { renewals, moves } = this.#plan;
    if (renewals === 0 && moves === 0) return;
    this.#known[this.#knownNext] = person;
    this.#knownNext = (this.#knownNext + 1) % REMEMBERED;
  }

  #choose(): Person | undefined {
    const { renewals, moves } = this.#plan;
    const dice = renewals + moves > 0 ? Math.random() : 1;
    if (dice < renewals + moves && this.#known.length > 0) {
      const known = this.#known[Math.floor(Math.random() * this.#known.length)]!;
      const person = dice < renewals ? known : this.#elsewhere(known);
      if (person && this.#isFree(person)) return person;
    }
    for (let tries = 0; tries < TRIES; tries++) {
      const person = this.#newcomer();
      if (this.#isFree(person)) return person;
    }
    return undefined;
  }

  /** The next in order; after the last one the first visitor again. */
  #newcomer(): Person {
    const { mechanism, users, hold } = this.#plan;
    const person = this.#personAt(this.#nextPerson++);
    if (mechanism !== 'ANONYMOUS' && this.#nextPerson >= users) this.#nextPerson = hold;
    return person;
  }

  /** Strangers come from the other end, so that they never want a place where a user has a tunnel. */
  #personAt(index: number): Person {
    if (this.#plan.mechanism !== 'ANONYMOUS') return { user: index, place: index };
    const { count } = this.#endpoints;
    return { user: undefined, place: count - 1 - (index % count) };
  }

  #elsewhere({ user }: Person): Person {
    return { user, place: this.#nextPlace++ };
  }

  #isFree({ user, place }: Person): boolean {
    if (user !== undefined && this.#usersUnderWay.has(user)) return false;
    return !this.#clients.has(this.#endpoints.at(place).key);
  }
}

class Client implements Sleeper {
  alarmMs = Number.POSITIVE_INFINITY;
  underWay = true;
  gone = false;
  /** Own address in a tunnel that is kept alive. */
  inside: bigint | undefined;
  /** When a login that is under way is begun anew. */
  patientUntilMs: number | undefined;
  session: ClientSession;
  readonly role: Role;
  readonly person: Person;
  readonly endpoint: OwnEndpoint;
  readonly dueMs: number;
  readonly measured: boolean;

  constructor(
    role: Role,
    person: Person,
    endpoint: OwnEndpoint,
    session: ClientSession,
    dueMs: number,
    measured: boolean,
  ) {
    this.role = role;
    this.person = person;
    this.endpoint = endpoint;
    this.session = session;
    this.dueMs = dueMs;
    this.measured = measured;
  }

  deadlineMs(): number | undefined {
    if (this.gone) return undefined;
    const deadlineMs = this.session.deadline();
    if (deadlineMs === undefined || this.patientUntilMs === undefined)
      return deadlineMs ?? this.patientUntilMs;
    return Math.min(deadlineMs, this.patientUntilMs);
  }

  isOverdue(nowMs: number): boolean {
    return this.patientUntilMs !== undefined && this.patientUntilMs <= nowMs;
  }
}

function causeOf(end: ClientEnd): Cause {
  switch (end.reason) {
    case 'refused':
      return end.status;
    case 'authentication-refused':
      return 300;
    case 'version-refused':
      return 302;
    case 'stopped':
      return 'lost';
    default:
      return end.reason;
  }
}
