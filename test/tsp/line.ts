// Drives a TspConnection by hand: octets go in, segments come out. The broker's part is played by
// `answer`, and the clock stands still unless it is moved.

import type { Endpoint } from '../../src/address.ts';
import {
  type ConnectionCommand,
  type ConnectionEvent,
  TspConnection,
} from '../../src/tsp/connection.ts';
import { answerChallenge, readChallenge } from '../../src/tsp/digest-md5.ts';
import { Reception, type ReceptionSettings } from '../../src/tsp/reception.ts';
import { readBase64, writeBase64 } from '../../src/tsp/sasl.ts';
import type { SessionResult } from '../../src/tsp/server-session.ts';
import { ALICE, ALICES_CREDENTIAL, CLIENT, SETTINGS, willingBroker } from './wire.ts';

export class Line {
  readonly connection: TspConnection;
  answer: (command: ConnectionCommand) => SessionResult | undefined = willingBroker;
  nowMs = 1_000_000;
  /** Everything that was sent, one text a segment. */
  readonly segments: string[] = [];
  closed = false;
  /** What was commanded in the last call, without segments; counts by what they count. */
  did: string[] = [];
  commands: ConnectionCommand[] = [];

  constructor(
    settings: Partial<ReceptionSettings> = {},
    source: Endpoint = CLIENT,
    reception = new Reception({ ...SETTINGS, ...settings }, 100),
  ) {
    const { realm, tunnelTypes, redirect } = { ...SETTINGS, ...settings };
    const facts = { id: 1, source, realm, tunnelTypes, ...(redirect && { redirect }) };
    this.connection = new TspConnection(reception, facts, this.nowMs);
  }

  /** The segments that came back. */
  say(text: string | Uint8Array): string[] {
    const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
    return this.handle({ type: 'octets', bytes });
  }

  handle(event: ConnectionEvent): string[] {
    this.did = [];
    this.commands = [];
    const from = this.segments.length;
    const waiting = this.connection.handle(event, this.nowMs);
    for (let command = waiting.shift(); command; command = waiting.shift()) {
      if (command.type === 'send') {
        if (this.closed) throw new Error('something is sent after the end');
        this.segments.push(command.data);
        continue;
      }
      this.commands.push(command);
      this.did.push(command.type === 'count' ? `count ${command.what}` : command.type);
      if (command.type === 'close') this.closed = true;
      const result = this.#resultOf(command);
      if (result) waiting.push(...this.connection.handle(result, this.nowMs));
    }
    return this.segments.slice(from);
  }

  /** Goes on to the next deadline. */
  wait(): string[] {
    this.nowMs = this.connection.deadline() ?? this.nowMs;
    return this.handle({ type: 'tick' });
  }

  /** The DIGEST-MD5 response to a challenge as it came over the wire. */
  respond(challenge: string, login = ALICE): string {
    const read = readChallenge(readBase64(challenge) ?? '')!;
    return writeBase64(answerChallenge(read, login, '1700000000', 'tsp/[::1]:3653').response);
  }

  #resultOf(command: ConnectionCommand): ConnectionEvent | undefined {
    if (command.type !== 'look-up-salt') return this.answer(command);
    const { first } = command;
    const found = first.username === ALICE.username ? ALICES_CREDENTIAL.scram : undefined;
    return { type: 'salt-looked-up', first, found };
  }
}
