// Drives a TspServer by hand: texts go in under a sequence and a timestamp, texts come out.
// The broker's part is played by `answer`, which sees each command as it comes.

import { formatEndpoint, type IpAddress, parseIpv4, parseIpv6 } from '../../src/address.ts';
import type { ConnectionCommand } from '../../src/tsp/connection.ts';
import { answerChallenge, readChallenge } from '../../src/tsp/digest-md5.ts';
import { readDatagram, writeDatagram } from '../../src/tsp/framing.ts';
import type { ConcreteTunnelType, TunnelInfo } from '../../src/tsp/messages.ts';
import { type Credential, ha1Forms, readBase64, writeBase64 } from '../../src/tsp/sasl.ts';
import { answerServerFirst, scramCredential } from '../../src/tsp/scram.ts';
import {
  type ServerCommand,
  type ServerEvent,
  TspServer,
  type TspServerSettings,
} from '../../src/tsp/server.ts';
import type { SessionResult } from '../../src/tsp/server-session.ts';

export const SETTINGS: TspServerSettings = {
  realm: 'tb.example',
  mechanisms: ['ANONYMOUS', 'PLAIN', 'DIGEST-MD5', 'SCRAM-SHA-256'],
  tunnelTypes: ['v6v4', 'v6udpv4'],
  nonceKey: new Uint8Array(32).fill(1),
  decoyKey: new Uint8Array(32).fill(2),
  maxSessions: 100,
  maxSessionsPerAddress: 100,
  maxUnprovenSessions: 100,
};

export const CLIENT = { address: parseIpv4('203.0.113.9')!, port: 40_000 };
export const ALICE = { username: 'alice', password: 's3cret' };

export const ALICES_CREDENTIAL: Credential = {
  ha1s: ha1Forms(ALICE.username, SETTINGS.realm, ALICE.password),
  scram: scramCredential(ALICE.password, Buffer.from('0123456789abcdef')),
};

export const OFFER = {
  lifetime: 10080,
  serverIpv4: parseIpv4('192.0.2.53')!,
  serverIpv6: parseIpv6('2001:db8:0:1::10')!,
  clientIpv6: parseIpv6('2001:db8:0:1::11')!,
  keepalive: { intervalSeconds: 30, address: parseIpv6('2001:db8:0:1::10')! },
  resolver: parseIpv6('2001:db8::53')!,
} as const;

/** What a broker makes of {@link OFFER} for a client that states this address. */
export function offered(
  tunnelType: ConcreteTunnelType,
  statedAddress: IpAddress,
  more: Partial<TunnelInfo> = {},
): TunnelInfo {
  if (tunnelType === 'v4v6' || typeof statedAddress !== 'number') {
    const keepalive = { intervalSeconds: 30, address: parseIpv4('203.0.113.5')! };
    return {
      ...OFFER,
      tunnelType: 'v4v6',
      linkLength: 30,
      serverIpv4: keepalive.address,
      clientIpv4: parseIpv4('203.0.113.6')!,
      clientIpv6: statedAddress as bigint,
      keepalive,
    };
  }
  return { ...OFFER, tunnelType, clientIpv4: statedAddress, ...more } as TunnelInfo;
}

/** Knows alice and offers everybody a tunnel; the offer is named after the command's session. */
export function willingBroker(
  command: ServerCommand | ConnectionCommand,
): SessionResult | undefined {
  switch (command.type) {
    case 'look-up-credential':
      return command.username === ALICE.username
        ? {
            type: 'credential-found',
            userId: 7,
            credential: ALICES_CREDENTIAL,
          }
        : { type: 'credential-missing' };
    case 'open-tunnel':
      return {
        type: 'tunnel-offered',
        offerId: `offer ${command.session}`,
        info: offered(command.tunnelType, command.statedAddress),
      };
    case 'accept-tunnel':
      return { type: 'tunnel-accepted' };
    case 'describe-tunnel':
      return {
        type: 'tunnel-described',
        info: offered('v6udpv4', CLIENT.address),
      };
    case 'delete-tunnel':
      return { type: 'tunnel-deleted' };
    default:
      return undefined;
  }
}

export class Wire {
  readonly server: TspServer;
  answer: (command: ServerCommand) => SessionResult | undefined = willingBroker;
  nowMs = 1_000_000;
  /** Commands of the last call, without `send`. */
  commands: ServerCommand[] = [];

  constructor(settings: Partial<TspServerSettings> = {}) {
    this.server = new TspServer({ ...SETTINGS, ...settings });
  }

  /** The texts sent back; each must have come under this very header. */
  say(sequence: number, text: string, { timestamp = sequence * 7, from = CLIENT } = {}): string[] {
    const header = { sequence, timestamp };
    const bytes = writeDatagram(header, Buffer.from(text, 'latin1'));
    return this.handle({ type: 'datagram', from, bytes }).map(({ to, ...sent }) => {
      const same = sent.sequence === sequence && sent.timestamp === timestamp;
      if (!same || to !== formatEndpoint(from)) throw new Error('an answer went astray');
      return sent.text;
    });
  }

  handle(event: ServerEvent): { to: string; sequence: number; timestamp: number; text: string }[] {
    this.commands = [];
    const sent = [];
    const waiting = this.server.handle(event, this.nowMs);
    for (let command = waiting.shift(); command; command = waiting.shift()) {
      if (command.type === 'send') {
        const { header, payload } = readDatagram(command.bytes)!;
        const text = Buffer.from(payload).toString('latin1');
        sent.push({ to: formatEndpoint(command.to), ...header, text });
        continue;
      }
      this.commands.push(command);
      if (command.type === 'look-up-salt') {
        const { first, ticket } = command;
        const found = first.username === ALICE.username ? ALICES_CREDENTIAL.scram : undefined;
        const event = { type: 'salt-looked-up', first, found, ticket } as const;
        waiting.push(...this.server.handle(event, this.nowMs));
        continue;
      }
      const result = this.answer(command);
      if (result && 'session' in command) {
        waiting.push(...this.server.handle({ ...result, session: command.session }, this.nowMs));
      }
    }
    return sent;
  }

  /** The commands of the last call, by type; counts by what they count. */
  get did(): string[] {
    return this.commands.map((command) =>
      command.type === 'count' ? `count ${command.what}` : command.type,
    );
  }

  /** The DIGEST-MD5 response to a challenge as it came over the wire. */
  respond(challenge: string, login = ALICE): string {
    const read = readChallenge(readBase64(challenge) ?? '')!;
    return writeBase64(answerChallenge(read, login, '1700000000', 'tsp/whatever').response);
  }

  /** The last message of SCRAM, to the server's first as it came over the wire. */
  prove(serverFirst: string, login = ALICE): string {
    return writeBase64(answerServerFirst(readBase64(serverFirst) ?? '', login, 'cnonce')!.final);
  }
}
