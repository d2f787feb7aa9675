// What `sixway tunnel show` makes of what the kernel dropped: a broker, its maps, and entries in them
// as the kernel programs would write them.

import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, mock, test } from 'node:test';
import { describe, diagnosisOf, showDiagnosis, showTunnel } from '../../src/cli/tunnel-view.ts';
import {
  FAULT_NAMES,
  OUTCOME_NAMES,
  type OutcomeName,
  STRAY_SIZE,
  TICK_SHIFT,
  TUNNEL_FAULTS_SIZE,
  writeStray,
  writeTunnelFaults,
} from '../../src/dataplane/layout.gen.ts';
import { openPinned, updateMapElement } from '../../src/dataplane/native.ts';
import { endpointValue, strayPlace } from '../../src/dataplane/records.ts';
import { Fixture, HOME } from '../broker/fixture.ts';

let fixture: Fixture;
let slot: number;
const user = 'ada';

before(async () => {
  fixture = await Fixture.make();
  ({ slot } = await fixture.login({ userId: await fixture.addUser(user) }));
});
after(() => fixture.remove());

function write(map: string, key: number, size: number, fill: (view: DataView) => void): void {
  const value = new Uint8Array(size);
  fill(new DataView(value.buffer));
  const fd = openPinned(join(fixture.pinDirectory, map))!;
  updateMapElement(fd, key, value);
  closeSync(fd);
}

const outcomeNumber = (outcome: OutcomeName) => OUTCOME_NAMES.indexOf(outcome);
const tick = () => Number(process.hrtime.bigint() >> BigInt(TICK_SHIFT));

async function described() {
  const id = (await fixture.store.user(user))!.id;
  return describe((await fixture.store.tunnel({ userId: id }))!, fixture.dataplane, 1280);
}

async function printed(): Promise<string> {
  const view = await described();
  const log = mock.method(console, 'log', () => {});
  try {
    showTunnel(view);
    return log.mock.calls.map(({ arguments: [line] }) => String(line)).join('\n');
  } finally {
    log.mock.restore();
  }
}

test('a tunnel that lost nothing says so', async () => {
  const { drops, stray, policy } = await described();
  assert.equal(drops?.packets, 0);
  assert.equal(drops.last, undefined);
  assert.equal(stray, undefined);
  assert.deepEqual(policy, {
    mtu: 1280,
    rateIn: 0,
    rateOut: 0,
    ports: 'closed',
    own: { mtu: undefined, rateIn: undefined, rateOut: undefined, ports: undefined },
    group: undefined,
  });
  assert.match(await printed(), /^dropped: +0 packets$/m);
});

test('drops are told by reason, the last one with what to do', async () => {
  write('faults', slot, TUNNEL_FAULTS_SIZE, (view) => {
    const packets = FAULT_NAMES.map(
      (name) => ({ wrong_endpoint: 3, filtered: 2 })[name as string] ?? 0,
    );
    writeTunnelFaults(view, 0, {
      packets,
      lastTick: tick(),
      lastOutcome: outcomeNumber('in_filtered'),
    });
  });
  const { drops } = await described();
  assert.equal(drops?.packets, 5);
  assert.equal(drops.byReason.wrong_endpoint, 3);
  assert.equal(drops.last?.outcome, 'in_filtered');
  assert.ok(Math.abs(Date.parse(drops.last.at ?? '') - Date.now()) < 2000);
  const text = await printed();
  assert.match(text, /^dropped: +5 packets$/m);
  assert.match(text, /^ {2}3 came from another address or port than the client’s$/m);
  assert.match(text, /^ {2}2 were for a port that is closed for this tunnel$/m);
  assert.match(
    text,
    /^ {2}the last (just now|\d s ago): A connection to a port .* \(in_filtered\)$/m,
  );
});

test('a client’s packets that lead nowhere show at its endpoint', async () => {
  const endpoint = endpointValue('v6udpv4', HOME);
  const { hashMultiplier } = fixture.dataplane.settings();
  write('strays', strayPlace(endpoint, hashMultiplier), STRAY_SIZE, (view) => {
    writeStray(view, 0, {
      endpoint,
      sourceHigh: 0x2a02_0000_0000_0000n,
      sourceLow: 7n,
      lastTick: tick(),
      packets: 9,
      outcome: outcomeNumber('in_outside_pools'),
    });
  });
  const { stray } = await described();
  assert.equal(stray?.source, '2a02::7');
  assert.equal(stray.packets, 9);
  const text = await printed();
  assert.match(text, /^9 packets from the client’s address and port led to no tunnel/m);
  assert.match(text, /^ {2}The client sends with a source address that is not from here/m);
});

test('what it means is said in order, with what comes from elsewhere', async () => {
  const tunnel = (await fixture.store.tunnel({ slot }))!;
  const elsewhere = { address: HOME.address, port: 4444 };
  const endpoint = endpointValue('v6udpv4', elsewhere);
  const { hashMultiplier } = fixture.dataplane.settings();
  write('strays', strayPlace(endpoint, hashMultiplier), STRAY_SIZE, (view) => {
    writeStray(view, 0, {
      endpoint,
      sourceHigh: tunnel.link.address >> 64n,
      sourceLow: 2n,
      lastTick: tick(),
      packets: 2,
      outcome: outcomeNumber('in_wrong_endpoint'),
    });
  });
  const findings = diagnosisOf(tunnel, fixture.dataplane, 1280, Date.now());
  assert.deepEqual(
    findings.map(({ severity, key }) => `${severity} ${key}`),
    ['problem heard-elsewhere', 'notice others-with-our-addresses', 'notice port-closed'],
  );
  const log = mock.method(console, 'log', () => {});
  showDiagnosis(findings);
  const [first] = log.mock.calls.map(({ arguments: [line] }) => String(line));
  log.mock.restore();
  assert.match(
    first ?? '',
    /^✘ We hear the client, but from 192\.0\.2\.1:4444 \(last .*\) and not from/,
  );
});

test('nothing is said of what nobody counted', async () => {
  const id = (await fixture.store.user(user))!.id;
  const view = describe((await fixture.store.tunnel({ userId: id }))!, undefined, 1280);
  assert.deepEqual([view.counters, view.drops, view.stray], [undefined, undefined, undefined]);
});
