import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type IpAddress, parseIp } from '../../src/address.ts';
import { Lockout } from '../../src/broker/lockout.ts';

const NOW = 1_700_000_000_000;
const from = (text: string, forgeable = false) => ({
  address: parseIp(text) as IpAddress,
  port: 40_000,
  forgeable,
});
const HERE = from('192.0.2.1');
const THERE = from('198.51.100.1');

/** Tries as fast as it is let, for so long; answers how many secrets were looked at. */
function guess(lockout: Lockout, name: string, source: typeof HERE, forMs: number): number {
  let tries = 0;
  for (let atMs = NOW; atMs < NOW + forMs; atMs += 500) {
    if (!lockout.allows(name, source, atMs)) continue;
    tries++;
    lockout.rejected(name, source, atMs);
  }
  return tries;
}

describe('lockout', () => {
  it('forgives four typing errors, then waits twice as long each time, five minutes at most', () => {
    const lockout = new Lockout();
    const waits: number[] = [];
    let nowMs = NOW;
    for (let i = 0; i < 15; i++) {
      const held = lockout.rejected('ada', HERE, nowMs);
      const waitMs = held?.forMs ?? 0;
      if (waitMs > 0) assert.equal(lockout.allows('ada', HERE, nowMs + waitMs - 1), false);
      nowMs += waitMs;
      assert.equal(lockout.allows('ada', HERE, nowMs), true);
      waits.push(waitMs / 1000);
    }
    assert.deepEqual(waits, [0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
  });

  it('lets a guesser look at a handful of secrets an hour', () => {
    const tries = guess(new Lockout(), 'ada', HERE, 3_600_000);
    assert.ok(tries >= 12 && tries <= 30, String(tries));
  });

  it('does not hold the name back anywhere else, however much is tried here', () => {
    const lockout = new Lockout();
    guess(lockout, 'ada', HERE, 3_600_000);
    assert.equal(lockout.allows('ada', HERE, NOW + 3_600_000), false);
    assert.equal(lockout.allows('ada', THERE, NOW + 3_600_000), true);
    assert.equal(lockout.allows('bob', HERE, NOW + 3_600_000), true);
  });

  it('never holds a user back where that user has logged in lately', () => {
    const lockout = new Lockout();
    lockout.accepted('ada', HERE, NOW);
    for (let i = 0; i < 1000; i++) lockout.rejected('ada', HERE, NOW + i);
    for (let i = 0; i < 1000; i++) lockout.rejected(`name ${i}`, HERE, NOW + i);
    assert.equal(lockout.allows('ada', HERE, NOW + 1000), true);
    assert.equal(lockout.allows('bob', HERE, NOW + 1000), false);
    for (const home of ['203.0.113.1', '203.0.113.2', '203.0.113.3'])
      lockout.accepted('ada', from(home), NOW + 1000);
    assert.equal(lockout.allows('ada', HERE, NOW + 1000), true, 'one of four places');
    lockout.accepted('ada', from('203.0.113.4'), NOW + 1000);
    assert.equal(lockout.allows('ada', HERE, NOW + 1000), false, 'the fifth place');
  });

  it('holds an address back where many names are tried, and no other address', () => {
    const lockout = new Lockout();
    const held: string[] = [];
    for (let i = 0; i < 32; i++)
      held.push(lockout.rejected(`name ${i}`, HERE, NOW)?.what ?? 'nothing');
    assert.deepEqual([...new Set(held)], ['nothing', 'address']);
    assert.equal(held.indexOf('address'), 31);
    assert.equal(lockout.allows('somebody new', HERE, NOW + 1999), false);
    assert.equal(lockout.allows('somebody new', HERE, NOW + 2000), true);
    assert.equal(lockout.allows('name 0', THERE, NOW), true);
  });

  it('does not free an address because one of its names logs in', () => {
    const lockout = new Lockout();
    for (let i = 0; i < 40; i++) {
      lockout.rejected(`name ${i}`, HERE, NOW + i * 300_000);
      lockout.accepted('mallory', HERE, NOW + i * 300_000);
    }
    assert.equal(lockout.allows('ada', HERE, NOW + 39 * 300_000 + 1), false);
  });

  it('takes all of an IPv6 customer’s addresses for one, and no other customer’s', () => {
    const lockout = new Lockout();
    for (let i = 0; i < 5; i++) lockout.rejected('ada', from(`2001:db8:0:1::${i}`), NOW);
    assert.equal(lockout.allows('ada', from('2001:db8:0:1:ffff::9'), NOW), false);
    assert.equal(lockout.allows('ada', from('2001:db8:0:2::1'), NOW), true);
  });

  it('lets no forged address hold back who proves theirs', () => {
    const lockout = new Lockout();
    const forged = from('192.0.2.1', true);
    for (let i = 0; i < 100; i++) lockout.rejected('ada', forged, NOW);
    for (let i = 0; i < 100; i++) lockout.rejected(`name ${i}`, forged, NOW);
    assert.equal(lockout.allows('ada', forged, NOW), false);
    assert.equal(lockout.allows('ada', HERE, NOW), true);
  });

  it('does not wait longer for who tries again while waiting', () => {
    const lockout = new Lockout();
    for (let i = 0; i < 8; i++) lockout.rejected('ada', HERE, NOW);
    for (let i = 0; i < 100; i++)
      assert.equal(lockout.rejected('ada', HERE, NOW + i * 10), undefined);
    assert.equal(lockout.allows('ada', HERE, NOW + 2000), true);
  });

  it('forgets a login after 30 days', () => {
    const lockout = new Lockout();
    lockout.accepted('ada', HERE, NOW);
    const laterMs = NOW + 30 * 86_400_000;
    for (let i = 0; i < 5; i++) lockout.rejected('ada', HERE, laterMs - 1);
    assert.equal(lockout.allows('ada', HERE, laterMs), true, 'nothing was counted until then');
    for (let i = 0; i < 5; i++) lockout.rejected('ada', HERE, laterMs);
    assert.equal(lockout.allows('ada', HERE, laterMs), false);
  });

  it('begins anew after an hour without a failure', () => {
    const lockout = new Lockout();
    for (let i = 0; i < 4; i++) lockout.rejected('bob', HERE, NOW);
    assert.equal(lockout.rejected('bob', HERE, NOW + 3_600_000), undefined);
  });

  it('remembers no more than it may, the latest', () => {
    const lockout = new Lockout();
    const source = (i: number) => ({ address: i, port: 0 });
    for (let i = 0; i < 5; i++) lockout.rejected('first', source(0), NOW);
    for (let i = 1; i <= 20_000; i++) lockout.rejected('ada', source(i), NOW);
    assert.equal(lockout.allows('first', source(0), NOW), true, 'made room');
    for (let i = 0; i < 4; i++) lockout.rejected('ada', source(20_000), NOW);
    assert.equal(lockout.allows('ada', source(20_000), NOW), false);
  });
});
