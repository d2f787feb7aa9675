// One client's dialogue from authentication on, as the server sees it: a table, situation by input.
// The same over UDP and TCP: it takes message texts and gives answer texts. Repetitions, headers and
// what comes before authentication are not its business (server.ts, opening.ts); neither is whether
// a user exists or a tunnel is to be had: it asks, and the answer comes back as an event.

import type { Endpoint, IpAddress } from '../address.ts';
import { decideCreate, type Transport } from './create-rules.ts';
import type { DigestResponse } from './digest-md5.ts';
import { frame, MAX_ANSWER_OCTETS, trimOctets, unframe, writeStatus } from './framing.ts';
import { type Attempt, type AttemptMechanism, judge, usernameOf } from './login.ts';
import {
  type BrokerAddress,
  type ConcreteTunnelType,
  type CreateRequest,
  type FailureStatus,
  type Mechanism,
  type Request,
  STATUS,
  type TunnelInfo,
} from './messages.ts';
import { type Credential, readPlain, writeBase64 } from './sasl.ts';
import type { ScramFinal } from './scram.ts';
import { readRequest, writeBrokers, writeTunnelInfo } from './vocabulary.ts';

/** gogoc repeats a message for 66 s; nothing it may still ask for is forgotten sooner. */
export const SESSION_IDLE_MS = 90_000;

/** Names one session for as long as the process lives. */
export type SessionId = number;

export type SessionUser =
  | { readonly type: 'account'; readonly userId: string | number; readonly username: string }
  | { readonly type: 'anonymous' };

/** Names an offer, not a tunnel: rejecting it leaves alone what was accepted before. */
export type OfferId = string | number;

/** What came of a command; see {@link SessionCommand} for who answers what. */
export type SessionResult =
  | {
      readonly type: 'credential-found';
      readonly userId: string | number;
      readonly credential: Credential;
    }
  /** No such user, or one who may not log in; the client cannot tell these apart. */
  | { readonly type: 'credential-missing' }
  | { readonly type: 'tunnel-offered'; readonly offerId: OfferId; readonly info: TunnelInfo }
  | { readonly type: 'tunnel-accepted' }
  | { readonly type: 'tunnel-described'; readonly info: TunnelInfo }
  | { readonly type: 'tunnel-deleted' }
  /** Any command can be refused; `brokers` sends the client elsewhere. */
  | {
      readonly type: 'refused';
      readonly status: FailureStatus;
      readonly brokers?: readonly BrokerAddress[];
    };

export type SessionBeginning =
  | { readonly mechanism: 'ANONYMOUS' | 'PLAIN' }
  | { readonly mechanism: 'DIGEST-MD5'; readonly response: DigestResponse }
  | { readonly mechanism: 'SCRAM-SHA-256'; readonly response: ScramFinal };

export type SessionEvent =
  | { readonly type: 'begin'; readonly with: SessionBeginning }
  /** One message, without header; its octets as they came. */
  | { readonly type: 'message'; readonly payload: Uint8Array }
  | SessionResult
  /** An answer that was waiting has been fetched. */
  | { readonly type: 'fetched' }
  /** Another session of the same client has taken this one's place, or its connection is gone. */
  | { readonly type: 'replaced' }
  | { readonly type: 'tick' };

export type SessionCommand =
  /**
   * Answers the message under way. Empty `data` is an answer over UDP (a header alone) and nothing
   * over TCP. `later` is what the client fetches with empty packets over UDP, and what follows in a
   * segment of its own over TCP.
   */
  | { readonly type: 'answer'; readonly data: string; readonly later?: string }
  /** → `credential-found`, `credential-missing` or `refused`. */
  | {
      readonly type: 'look-up-credential';
      readonly session: SessionId;
      readonly source: Endpoint;
      /** Nothing has shown that the client receives at `source`. */
      readonly forgeable: boolean;
      readonly username: string;
      readonly mechanism: Mechanism;
    }
  /** How an authentication ended, for lockout and log. No result. */
  | {
      readonly type: 'authentication';
      readonly source: Endpoint;
      readonly forgeable: boolean;
      readonly username: string | undefined;
      readonly mechanism: Mechanism;
      readonly outcome: 'accepted' | 'rejected';
    }
  /** → `tunnel-offered` or `refused`. */
  | {
      readonly type: 'open-tunnel';
      readonly session: SessionId;
      readonly user: SessionUser;
      readonly tunnelType: ConcreteTunnelType;
      /** Where the client speaks from. */
      readonly source: Endpoint;
      /** Where the tunnel leads: the source, but without a port where the type has none. */
      readonly endpoint: Endpoint;
      /** The endpoint is only what the client says: for users who are trusted with that. */
      readonly proxy: boolean;
      /** What the client calls its outer address; behind a NAT not the one of `endpoint`. */
      readonly statedAddress: IpAddress;
      readonly prefixLength?: number;
      readonly keepaliveSeconds?: number;
      readonly nameServers: readonly string[];
    }
  /** → `tunnel-accepted` or `refused`. */
  | { readonly type: 'accept-tunnel'; readonly session: SessionId; readonly offerId: OfferId }
  /** The client does not want it or did not come back for it. No result. */
  | { readonly type: 'reject-tunnel'; readonly session: SessionId; readonly offerId: OfferId }
  /** → `tunnel-described` or `refused`. */
  | {
      readonly type: 'describe-tunnel';
      readonly session: SessionId;
      readonly user: SessionUser;
      readonly source: Endpoint;
    }
  /** → `tunnel-deleted` or `refused`. */
  | {
      readonly type: 'delete-tunnel';
      readonly session: SessionId;
      readonly user: SessionUser;
      readonly source: Endpoint;
    }
  | { readonly type: 'count'; readonly what: SessionOddity };

export type SessionOddity = 'malformed-request' | 'request-out-of-place';

/** What a session knows from its birth. */
export interface SessionFacts {
  readonly id: SessionId;
  readonly source: Endpoint;
  readonly transport: Transport;
  readonly realm: string;
  /** All that the server has, on either family. */
  readonly tunnelTypes: readonly ConcreteTunnelType[];
  readonly redirect?: Redirect;
}

/** Sends every client to other brokers, at one point of the dialogue. */
export interface Redirect {
  readonly phase: 'version' | 'authentication' | 'create';
  /** At least one. */
  readonly brokers: readonly BrokerAddress[];
}

export class ServerSession {
  readonly #facts: SessionFacts;
  #situation: Situation = { name: 'new' };
  #lastActivityMs: number;

  constructor(facts: SessionFacts, nowMs: number) {
    this.#facts = facts;
    this.#lastActivityMs = nowMs;
  }

  get id(): SessionId {
    return this.#facts.id;
  }

  /** Over: the answer that ended it may be repeated, nothing else is said. */
  get closed(): boolean {
    return this.#situation.name === 'closed';
  }

  /** Has given what it was for; it only repeats itself for those who missed it, or takes it back. */
  get finished(): boolean {
    return this.#situation.name === 'up' || this.closed;
  }

  /** True once the client has shown who it is, or was let in without. */
  get authenticated(): boolean {
    return 'user' in this.#situation;
  }

  /**
   * Never throws. A message yields one `answer` at once, or none yet while a command is under way,
   * or none at all when the session is closed.
   */
  handle(event: SessionEvent, nowMs: number): SessionCommand[] {
    if (event.type === 'tick') {
      return nowMs < this.deadline() ? [] : this.#apply({ type: 'over' });
    }
    if (event.type === 'replaced') return this.#apply({ type: 'over' });
    this.#lastActivityMs = nowMs;
    return this.#apply(event.type === 'message' ? this.#classify(event.payload) : event);
  }

  get lastActivityMs(): number {
    return this.#lastActivityMs;
  }

  /**
   * When `tick` ends the session, unless something happens before. Over TCP never while the tunnel
   * is up: clients keep the connection for as long as they keep the tunnel.
   */
  deadline(): number {
    const stays = this.#facts.transport === 'tcp' && this.#situation.name === 'up';
    return stays ? Number.POSITIVE_INFINITY : this.#lastActivityMs + SESSION_IDLE_MS;
  }

  #apply(input: Input): SessionCommand[] {
    const situation = this.#situation;
    const rules = TABLE[situation.name] as Partial<Record<Input['type'], AnyRule>>;
    const rule = rules[input.type] ?? (otherwise(situation, input) as AnyRule);
    const [next, ...commands] = rule(situation, input, this.#facts);
    this.#situation = next;
    return commands;
  }

  #classify(payload: Uint8Array): Input {
    if (trimOctets(payload).length === 0) return { type: 'empty' };
    if (this.#situation.name === 'awaiting-plain') return { type: 'line', payload };
    const message = unframe(payload);
    // One datagram is one message; whatever follows it was not counted, so the count is wrong.
    if (message.kind !== 'complete' || message.rest.length > 0) return { type: 'unreadable' };
    const request = readRequest(message.body);
    if (!request) return { type: 'unreadable' };
    return request.action === 'create' ? { type: 'create', request } : { type: request.action };
  }
}

/** Where a session rests between commands. */
type Settled =
  | { readonly name: 'ready'; readonly user: SessionUser }
  | { readonly name: 'offered'; readonly user: SessionUser; readonly offerId: OfferId }
  | { readonly name: 'up'; readonly user: SessionUser };

type Situation =
  | { readonly name: 'new' }
  | { readonly name: 'awaiting-plain' }
  | { readonly name: 'looking-up'; readonly attempt: Attempt }
  | Settled
  | { readonly name: 'opening'; readonly user: SessionUser }
  | { readonly name: 'accepting'; readonly user: SessionUser; readonly offerId: OfferId }
  | { readonly name: 'describing'; readonly user: SessionUser; readonly back: Settled }
  | { readonly name: 'deleting'; readonly user: SessionUser; readonly back: Settled }
  | { readonly name: 'closed' };

type Input =
  | Exclude<SessionEvent, { readonly type: 'message' | 'tick' | 'replaced' }>
  | { readonly type: 'create'; readonly request: CreateRequest }
  | { readonly type: Exclude<Request['action'], 'create'> }
  | { readonly type: 'line'; readonly payload: Uint8Array }
  | { readonly type: 'empty' | 'unreadable' | 'over' };

type Step = readonly [Situation, ...SessionCommand[]];
type Rule<S, I> = (at: S, input: I, facts: SessionFacts) => Step;
type AnyRule = Rule<Situation, Input>;
type In<S extends Situation['name']> = Extract<Situation, { readonly name: S }>;
type Of<I extends Input['type']> = Extract<Input, { readonly type: I }>;
type Rules<S extends Situation['name']> = { readonly [I in Input['type']]?: Rule<In<S>, Of<I>> };

// What is not in the table: `otherwise`. What holds everywhere:
// - a request while a command is under way is answered 521 and changes nothing;
// - an unreadable or unsuitable request is answered 500 and changes nothing;
// - an offer that is neither accepted nor rejected is rejected when the session is over, replaced or
//   asks anew; one that nobody waits for is rejected at once;
// - after a failed authentication nothing is said any more.
const TABLE: { readonly [S in Situation['name']]: Rules<S> } = {
  new: {
    begin: (at, input, facts) => begin(at, input.with, facts),
  },
  'awaiting-plain': {
    line: (_, { payload }, facts) => {
      // gogoc has no room for text before this line.
      if (facts.redirect?.phase === 'authentication') {
        return [{ name: 'closed' }, say(sendAway(facts.redirect))];
      }
      const login = readPlain(payload);
      return login
        ? lookUp({ mechanism: 'PLAIN', login }, facts)
        : rejectLogin('PLAIN', undefined, facts);
    },
  },
  'looking-up': {
    'credential-found': ({ attempt }, { userId, credential }, facts) =>
      conclude(attempt, { userId, credential }, facts),
    'credential-missing': ({ attempt }, _, facts) => conclude(attempt, undefined, facts),
    refused: (_, { status, brokers }) => [{ name: 'closed' }, say(failure(status, brokers))],
  },
  ready: {
    create: (at, { request }, facts) => create(at, request, facts),
    info: describe,
    delete: remove,
  },
  opening: {
    'tunnel-offered': ({ user }, { offerId, info }) => [
      { name: 'offered', user, offerId },
      sayTunnel(info),
    ],
    refused: ({ user }, { status, brokers }) => [
      { name: 'ready', user },
      say(frame(failure(status, brokers))),
    ],
  },
  offered: {
    accept: ({ user, offerId }, _, { id }) => [
      { name: 'accepting', user, offerId },
      { type: 'accept-tunnel', session: id, offerId },
    ],
    reject: ({ user, offerId }, _, { id }) => [
      { name: 'ready', user },
      release(id, offerId),
      say(''),
    ],
    create: ({ user, offerId }, { request }, facts) => {
      const [next, ...commands] = create({ name: 'ready', user }, request, facts);
      return [next, release(facts.id, offerId), ...commands];
    },
    info: describe,
    delete: ({ user, offerId }, input, facts) => {
      const [next, ...commands] = remove({ name: 'ready', user }, input, facts);
      return [next, release(facts.id, offerId), ...commands];
    },
    over: ({ offerId }, _, { id }) => [{ name: 'closed' }, release(id, offerId)],
  },
  accepting: {
    // gogoc has no room for data in this answer (it asks only for the header).
    'tunnel-accepted': ({ user }) => [{ name: 'up', user }, say('')],
    refused: ({ user }, { status, brokers }) => [
      { name: 'ready', user },
      say(frame(failure(status, brokers))),
    ],
  },
  describing: {
    'tunnel-described': ({ back }, { info }) => [back, sayTunnel(info)],
    refused: ({ back }, { status, brokers }) => [back, say(frame(failure(status, brokers)))],
    over: ({ back }, _, { id }) =>
      back.name === 'offered'
        ? [{ name: 'closed' }, release(id, back.offerId)]
        : [{ name: 'closed' }],
  },
  deleting: {
    'tunnel-deleted': ({ user }) => [
      { name: 'ready', user },
      say(frame(writeStatus(STATUS.success))),
    ],
    refused: ({ back }, { status, brokers }) => [back, say(frame(failure(status, brokers)))],
  },
  up: {
    create: ({ user }, { request }, facts) => create({ name: 'ready', user }, request, facts),
    info: describe,
    delete: remove,
  },
  closed: {},
};

const UNDER_WAY: readonly Situation['name'][] = [
  'looking-up',
  'opening',
  'accepting',
  'describing',
  'deleting',
];

const REQUESTS: readonly Input['type'][] = [
  'create',
  'info',
  'delete',
  'accept',
  'reject',
  'unreadable',
];

function otherwise(situation: Situation, input: Input): Rule<Situation, Input> {
  if (input.type === 'tunnel-offered') {
    return (at, _, { id }) => [at, release(id, input.offerId)];
  }
  if (situation.name === 'closed') return stay;
  if (input.type === 'over') return () => [{ name: 'closed' }];
  if (input.type === 'empty') return (at) => [at, say('')];
  if (!REQUESTS.includes(input.type)) return stay;
  if (UNDER_WAY.includes(situation.name)) {
    return (at) => [at, say(frame(writeStatus(STATUS.requestInProgress)))];
  }
  const what = input.type === 'unreadable' ? 'malformed-request' : 'request-out-of-place';
  return (at) => [at, { type: 'count', what }, say(frame(writeStatus(STATUS.invalidRequest)))];
}

function stay(at: Situation): Step {
  return [at];
}

function begin(at: Situation, beginning: SessionBeginning, facts: SessionFacts): Step {
  switch (beginning.mechanism) {
    case 'ANONYMOUS':
      return [
        { name: 'ready', user: { type: 'anonymous' } },
        authentication('ANONYMOUS', undefined, 'accepted', facts),
        say(writeStatus(STATUS.success)),
      ];
    case 'PLAIN':
      return [{ name: 'awaiting-plain' }, say('')];
    case 'DIGEST-MD5':
    case 'SCRAM-SHA-256':
      return lookUp(beginning, facts);
    default:
      return [at];
  }
}

function lookUp(attempt: Attempt, facts: SessionFacts): Step {
  const { id, source } = facts;
  const { mechanism } = attempt;
  const forgeable = isForgeable(mechanism, facts);
  const username = usernameOf(attempt);
  return [
    { name: 'looking-up', attempt },
    { type: 'look-up-credential', session: id, source, forgeable, username, mechanism },
  ];
}

/** `found` is undefined for a user who does not exist. */
function conclude(
  attempt: Attempt,
  found: { readonly userId: string | number; readonly credential: Credential } | undefined,
  facts: SessionFacts,
): Step {
  const { mechanism } = attempt;
  const username = usernameOf(attempt);
  const proof = judge(attempt, facts.realm, found?.credential);
  if (proof === undefined || !found) return rejectLogin(mechanism, username, facts);
  const success = writeStatus(STATUS.success);
  return [
    { name: 'ready', user: { type: 'account', userId: found.userId, username } },
    authentication(mechanism, username, 'accepted', facts),
    // Apart, because gogoc loses a 200 that comes together with rspauth.
    proof === '' ? say(success) : { type: 'answer', data: writeBase64(proof), later: success },
  ];
}

function rejectLogin(
  mechanism: AttemptMechanism,
  username: string | undefined,
  facts: SessionFacts,
): Step {
  return [
    { name: 'closed' },
    authentication(mechanism, username, 'rejected', facts),
    say(writeStatus(STATUS.authenticationFailed)),
  ];
}

function authentication(
  mechanism: Mechanism,
  username: string | undefined,
  outcome: 'accepted' | 'rejected',
  facts: SessionFacts,
): SessionCommand {
  const forgeable = isForgeable(mechanism, facts);
  return { type: 'authentication', source: facts.source, forgeable, username, mechanism, outcome };
}

/** Over UDP only a nonce that comes back shows that a client receives where it seems to send from. */
function isForgeable(mechanism: Mechanism, { transport }: SessionFacts): boolean {
  return transport === 'udp' && (mechanism === 'PLAIN' || mechanism === 'ANONYMOUS');
}

function create(at: In<'ready'>, request: CreateRequest, facts: SessionFacts): Step {
  const { id, source, transport, tunnelTypes, redirect } = facts;
  if (redirect?.phase === 'create') return [at, say(frame(sendAway(redirect)))];
  const decision = decideCreate(request, source, transport, tunnelTypes);
  if (!decision.ok) return [at, say(frame(writeStatus(decision.status)))];
  const { user } = at;
  const { tunnelType, statedAddress, endpoint } = decision;
  const { keepaliveSeconds, prefixLength, nameServers, proxy } = request;
  return [
    { name: 'opening', user },
    {
      type: 'open-tunnel',
      session: id,
      user,
      tunnelType,
      source,
      endpoint,
      proxy,
      statedAddress,
      nameServers,
      ...(prefixLength === undefined ? {} : { prefixLength }),
      ...(keepaliveSeconds === undefined ? {} : { keepaliveSeconds }),
    },
  ];
}

function describe(at: Settled, _: unknown, { id, source }: SessionFacts): Step {
  const { user } = at;
  return [
    { name: 'describing', user, back: at },
    { type: 'describe-tunnel', session: id, user, source },
  ];
}

function remove(at: Settled, _: unknown, { id, source }: SessionFacts): Step {
  const { user } = at;
  return [
    { name: 'deleting', user, back: at },
    { type: 'delete-tunnel', session: id, user, source },
  ];
}

function release(session: SessionId, offerId: OfferId): SessionCommand {
  return { type: 'reject-tunnel', session, offerId };
}

function say(data: string): SessionCommand {
  return { type: 'answer', data };
}

function sayTunnel(info: TunnelInfo): SessionCommand {
  const head = writeStatus(STATUS.success);
  return say(frame(head + writeTunnelInfo(info, MAX_BODY_OCTETS - head.length)));
}

/** A whole answer fits one datagram, the Content-length line included. */
const MAX_BODY_OCTETS = MAX_ANSWER_OCTETS - 'Content-length: 1200\r\n'.length;

/** A status line, and the list of other brokers where there is one. */
function failure(status: FailureStatus, brokers: readonly BrokerAddress[] = []): string {
  if (brokers.length === 0) return writeStatus(status);
  const head = writeStatus(status, true);
  return head + writeBrokers(brokers, MAX_BODY_OCTETS - head.length);
}

/** 1301 and the list: there are no tunnels here, but there (RFC 5572 §4.4.2). */
export function sendAway({ brokers }: Redirect): string {
  return failure(STATUS.noTunnelsLeft, brokers);
}
