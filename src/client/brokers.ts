// Where a redirect leads: the brokers of its list as places to connect to, nearest first. Distance is
// measured as gogoc does it, by ECHO REQUEST over UDP: a packet with TSP's header, answered with 200.

import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { parseIpv6 } from '../address.ts';
import { readDatagram, readStatus, writeDatagram } from '../tsp/framing.ts';
import { type BrokerAddress, STATUS } from '../tsp/messages.ts';

export interface Place {
  readonly server: string;
  readonly port: number;
}

const TSP_PORT = 3653;
const ATTEMPTS = 3;
const ATTEMPT_MS = 1_000;
/** More than these are not measured: whoever sends the list does not decide how much we send. */
const MAX_MEASURED = 50;

/** As written in a redirect; those that can only be reached over the other family are left out. */
export function placesOf(brokers: readonly BrokerAddress[], family: 4 | 6): readonly Place[] {
  return brokers
    .filter(({ type }) => type === 'dn' || type === `ipv${family}`)
    .map(({ text }) => {
      const address = parseIpv6(text);
      const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]*))(?::([0-9]+))?$/.exec(text) ?? [];
      const server = address === undefined ? (bracketed ?? plain ?? '') : text;
      return { server, port: port === undefined ? TSP_PORT : Number(port) };
    })
    .filter(({ server, port }) => server !== '' && port > 0 && port < 65_536);
}

/** The quickest to answer first; those that do not answer last, as they were. */
export async function nearestFirst(
  places: readonly Place[],
  family: 4 | 6,
): Promise<readonly Place[]> {
  if (places.length < 2) return places;
  const measured = await Promise.all(
    places
      .slice(0, MAX_MEASURED)
      .map(async (place) => ({ place, timeMs: await distance(place, family) })),
  );
  return measured.toSorted((a, b) => a.timeMs - b.timeMs).map(({ place }) => place);
}

/** Milliseconds until the answer; infinite without one. */
async function distance({ server, port }: Place, family: 4 | 6): Promise<number> {
  const found = await lookup(server, { family }).catch(() => undefined);
  if (!found) return Number.POSITIVE_INFINITY;
  const socket = createSocket(`udp${family}`);
  const answered = Promise.withResolvers<number>();
  const startsMs: number[] = [];
  socket.on('error', () => {});
  socket.on('message', (bytes, { address }) => {
    const datagram = readDatagram(bytes);
    const startMs = datagram && startsMs[datagram.header.sequence - FIRST_SEQUENCE];
    if (!datagram || startMs === undefined || address !== found.address) return;
    const status = readStatus(Buffer.from(datagram.payload).toString('latin1'));
    if (status?.code === STATUS.success) answered.resolve(performance.now() - startMs);
  });
  const send = () => {
    const sequence = FIRST_SEQUENCE + startsMs.length;
    if (startsMs.length === ATTEMPTS) {
      answered.resolve(Number.POSITIVE_INFINITY);
      return;
    }
    startsMs.push(performance.now());
    const bytes = writeDatagram({ sequence, timestamp: 0 }, Buffer.from('ECHO REQUEST'));
    socket.send(bytes, port, found.address);
  };
  const timer = setInterval(send, ATTEMPT_MS);
  send();
  try {
    return await answered.promise;
  } finally {
    clearInterval(timer);
    socket.close();
  }
}

/** Old servers look for the marker in the last octet of the sequence, which F0 has too. */
const FIRST_SEQUENCE = 240;
