// One client's dialogue from authentication on, as the server sees it: a table, situation by input.
// The same over UDP and TCP: it takes message texts and gives answer texts. Repetitions, headers and
// what comes before authentication are not its business (server.ts, opening.ts); neither is whether
// a user exists or a tunnel is to be had: it asks, and the answer comes back as an event.

import type { Endpoint, Ipv4Address, Ipv4Endpoint } from '../address.ts';
import { decideCreate, type Transport } from './create-rules.ts';
import { checkDigest, type DigestResponse } from './digest-md5.ts';
import { frame, MAX_ANSWER_OCTETS, trimOctets, unframe, writeStatus } from './framing.ts';
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
import { type Credential, checkPlain, type PlainLogin, readPlain, writeBase64 } from './sasl.ts';
import { readRequest, writeBrokers, writeTunnelInfo } from './vocabulary.ts';

/** gogoc repeats a message for 66 s; nothing it may still ask for is forgotten sooner. */
export const SESSION_IDLE_MS = 90_000;

/** Names one session for as long as the process lives. */
export type SessionId = number;

export type SessionUser =
  | { readonly type: 'account'; readonly userId: string | number; readonly username: string }
  | { readonly type: 'anonymous' };

/** What the broker offers. A resolver is part of it, because gogoc crashes without one. */
export type Offer = Omit<TunnelInfo, 'tunnelType' | 'clientIpv4' | 'resolver'> &
  Required<Pick<TunnelInfo, 'resolver'>>;

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
  | { readonly type: 'tunnel-offered'; readonly offerId: OfferId; readonly offer: Offer }
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
  | { readonly mechanism: 'DIGEST-MD5'; readonly response: DigestResponse };

export type SessionEvent =
  | { readonly type: 'begin'; readonly with: SessionBeginning }
  /** One message, without header; its octets as they came. */
  | { readonly type: 'message'; readonly payload: Uint8Array }
  | SessionResult
  /** An answer that was waiting has been fetched. */
  | { readonly type: 'fetched' }
  /** Another session of the same client has taken this one's place. */
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
      readonly username: string;
      readonly mechanism: Mechanism;
    }
  /** How an authentication ended, for lockout and log. No result. */
  | {
      readonly type: 'authentication';
      readonly source: Endpoint;
      readonly username: string | undefined;
      readonly mechanism: Mechanism;
      readonly outcome: 'accepted' | 'rejected';
    }
  /** → `tunnel-offered` or `refused`. For v6v4 the port of `source` means nothing. */
  | {
      readonly type: 'open-tunnel';
      readonly session: SessionId;
      readonly user: SessionUser;
      readonly tunnelType: ConcreteTunnelType;
      readonly source: Ipv4Endpoint;
      readonly statedAddress: Ipv4Address;
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
  /** As in the CAPABILITY line. */
  readonly tunnelTypes: readonly ConcreteTunnelType[];
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

  /** When `tick` ends the session, unless something happens before. */
  deadline(): number {
    return this.#lastActivityMs + SESSION_IDLE_MS;
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

type Attempt =
  | { readonly mechanism: 'PLAIN'; readonly login: PlainLogin }
  | { readonly mechanism: 'DIGEST-MD5'; readonly response: DigestResponse };

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
  | {
      readonly name: 'opening';
      readonly user: SessionUser;
      readonly tunnelType: ConcreteTunnelType;
      readonly statedAddress: Ipv4Address;
    }
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
      const login = readPlain(payload);
      return login
        ? lookUp({ mechanism: 'PLAIN', login }, login.username, facts)
        : rejectLogin('PLAIN', undefined, facts);
    },
  },
  'looking-up': {
    'credential-found': ({ attempt }, { userId, credential }, facts) =>
      judge(attempt, credential, userId, facts),
    'credential-missing': ({ attempt }, _, facts) => judge(attempt, DECOY, undefined, facts),
    refused: (_, { status, brokers }) => [{ name: 'closed' }, say(failure(status, brokers))],
  },
  ready: {
    create: (at, { request }, facts) => create(at, request, facts),
    info: describe,
    delete: remove,
  },
  opening: {
    'tunnel-offered': ({ user, tunnelType, statedAddress }, { offerId, offer }) => [
      { name: 'offered', user, offerId },
      sayTunnel({ ...offer, tunnelType, clientIpv4: statedAddress }),
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
    case 'DIGEST-MD5': {
      const { response } = beginning;
      return lookUp({ mechanism: 'DIGEST-MD5', response }, response.username, facts);
    }
    default:
      return [at];
  }
}

function lookUp(attempt: Attempt, username: string, { id, source }: SessionFacts): Step {
  const { mechanism } = attempt;
  return [
    { name: 'looking-up', attempt },
    { type: 'look-up-credential', session: id, source, username, mechanism },
  ];
}

/** Stands in for the credential of a user who does not exist, so that the same work is done. */
const DECOY: Credential = { ha1s: [new Uint8Array(16)] };

/** `userId` is undefined for a user who does not exist: no answer is right then. */
function judge(
  attempt: Attempt,
  credential: Credential,
  userId: string | number | undefined,
  facts: SessionFacts,
): Step {
  const { mechanism } = attempt;
  const { username } = mechanism === 'PLAIN' ? attempt.login : attempt.response;
  const success = writeStatus(STATUS.success);
  const answer =
    mechanism === 'PLAIN'
      ? checkPlain(attempt.login, facts.realm, credential) && say(success)
      : digestAnswer(checkDigest(attempt.response, facts.realm, credential), success);
  if (!answer || userId === undefined) return rejectLogin(mechanism, username, facts);
  return [
    { name: 'ready', user: { type: 'account', userId, username } },
    authentication(mechanism, username, 'accepted', facts),
    answer,
  ];
}

/** Apart, because gogoc loses a 200 that comes together with rspauth. */
function digestAnswer(rspauth: string | undefined, success: string): SessionCommand | undefined {
  return rspauth === undefined
    ? undefined
    : { type: 'answer', data: writeBase64(rspauth), later: success };
}

function rejectLogin(
  mechanism: Mechanism,
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
  { source }: SessionFacts,
): SessionCommand {
  return { type: 'authentication', source, username, mechanism, outcome };
}

function create(at: In<'ready'>, request: CreateRequest, facts: SessionFacts): Step {
  const { id, source, transport, tunnelTypes } = facts;
  const decision = decideCreate(request, source, transport, tunnelTypes);
  if (!decision.ok || typeof source.address !== 'number') {
    const status = decision.ok ? STATUS.tunnelTypeNotSupported : decision.status;
    return [at, say(frame(writeStatus(status)))];
  }
  const { user } = at;
  const { tunnelType, statedAddress } = decision;
  const { keepaliveSeconds, prefixLength, nameServers } = request;
  return [
    { name: 'opening', user, tunnelType, statedAddress },
    {
      type: 'open-tunnel',
      session: id,
      user,
      tunnelType,
      source: { address: source.address, port: source.port },
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
  return say(frame(writeStatus(STATUS.success) + writeTunnelInfo(info)));
}

/** A status line, and the list of other brokers where there is one. */
function failure(status: FailureStatus, brokers: readonly BrokerAddress[] = []): string {
  if (brokers.length === 0) return writeStatus(status);
  const head = writeStatus(status, true);
  const room =
    MAX_ANSWER_OCTETS - head.length - frame('').length - String(MAX_ANSWER_OCTETS).length;
  return head + writeBrokers(brokers, room);
}
