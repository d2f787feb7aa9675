import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Alarms, type Sleeper } from '../../src/bench/alarms.ts';
import { ClosedLoop, OpenLoop } from '../../src/bench/pace.ts';

test('a closed loop begins one login for each that ended', () => {
  const pace = new ClosedLoop(2);
  assert.equal(pace.next(10, 0), 10);
  assert.equal(pace.next(10, 1), 10);
  assert.equal(pace.next(10, 2), undefined);
  assert.equal(pace.next(50, 1), 50);
  assert.equal(pace.dueMs(), Number.POSITIVE_INFINITY);
});

test('an open loop counts from when a login was due, however late it is asked', () => {
  const pace = new OpenLoop(100, 1000);
  assert.equal(pace.next(999), undefined);
  assert.equal(pace.next(1000), 1000);
  assert.equal(pace.next(1005), undefined);
  assert.equal(pace.dueMs(), 1010);
  // The generator, or all that it could serve, stood still for a while.
  assert.deepEqual(
    [pace.next(1035), pace.next(1035), pace.next(1035), pace.next(1035)],
    [1010, 1020, 1030, undefined],
  );
});

class Alarm implements Sleeper {
  alarmMs = Number.POSITIVE_INFINITY;
  wantsMs: number | undefined;

  deadlineMs(): number | undefined {
    return this.wantsMs;
  }
}

/** When the sleepers are woken who want to be woken at `wishesMs`; `also` runs at each millisecond. */
function woken(
  wishesMs: readonly number[],
  lengthMs: number,
  also: (nowMs: number, sleepers: readonly Alarm[], alarms: Alarms<Alarm>) => void = () => {},
): number[][] {
  const alarms = new Alarms<Alarm>(0);
  const sleepers = wishesMs.map((wantsMs) => {
    const sleeper = new Alarm();
    sleeper.wantsMs = wantsMs;
    alarms.set(sleeper);
    return sleeper;
  });
  const rang = sleepers.map((): number[] => []);
  for (let nowMs = 0; nowMs <= lengthMs; nowMs++) {
    also(nowMs, sleepers, alarms);
    alarms.ring(nowMs, (sleeper) => {
      rang[sleepers.indexOf(sleeper)]!.push(nowMs);
      sleeper.wantsMs = undefined;
    });
  }
  return rang;
}

test('alarms ring once, not early, and at most 32 ms late, also beyond one turn of the wheel', () => {
  const wishes = [0, 1, 15, 16, 17, 1000, 2000.5, 65_535, 65_536, 70_000, 200_000];
  for (const [index, rang] of woken(wishes, 201_000).entries()) {
    assert.equal(rang.length, 1, `${wishes[index]}`);
    assert.ok(rang[0]! >= wishes[index]!, `${wishes[index]} at ${rang[0]}`);
    assert.ok(rang[0]! <= wishes[index]! + 32, `${wishes[index]} at ${rang[0]}`);
  }
});

test('an alarm that is moved rings at its last time only', () => {
  const later = woken([100], 1000, (nowMs, [sleeper], alarms) => {
    if (nowMs !== 50) return;
    sleeper!.wantsMs = 700;
    alarms.set(sleeper!);
  });
  assert.ok(later[0]!.length === 1 && later[0]![0]! >= 700 && later[0]![0]! <= 732);
  const sooner = woken([700], 1000, (nowMs, [sleeper], alarms) => {
    if (nowMs !== 50) return;
    sleeper!.wantsMs = 100;
    alarms.set(sleeper!);
  });
  assert.ok(sooner[0]!.length === 1 && sooner[0]![0]! >= 100 && sooner[0]![0]! <= 132);
  const never = woken([100], 1000, (nowMs, [sleeper]) => {
    if (nowMs === 50) sleeper!.wantsMs = undefined;
  });
  assert.deepEqual(never, [[]]);
});
