// What the model-based test does to a broker: everything that users, operators and time can do.

import fc from 'fast-check';
import type { Encapsulation } from '../../src/store/schema.ts';

export const USERS = ['ada', 'bob', 'cleo', 'dan', 'eve'] as const;

/** An index into USERS; undefined: anonymous. */
export type Who = number | undefined;
export interface Place {
  readonly encapsulation: Encapsulation;
  readonly host: number;
  readonly port: number;
}

export type Action =
  | {
      readonly type: 'open' | 'login';
      readonly who: Who;
      readonly place: Place;
      readonly length: number | undefined;
      readonly proxy: boolean;
    }
  | { readonly type: 'open4' | 'login4'; readonly who: Who; readonly host: number }
  | { readonly type: 'close4'; readonly who: Who }
  | { readonly type: 'accept' | 'reject'; readonly offer: number }
  | { readonly type: 'close'; readonly who: Who; readonly place: Place }
  | {
      readonly type: 'disable' | 'enable' | 'trust' | 'distrust' | 'replace';
      readonly user: number;
    }
  | { readonly type: 'pass'; readonly seconds: number }
  | { readonly type: 'restart' };

/** Any of them; what makes something happen comes more often. */
export function anyAction(): fc.Arbitrary<Action> {
  const who = fc.option(fc.nat(USERS.length - 1), { nil: undefined, freq: 3 });
  const place = fc.record({
    encapsulation: fc.constantFrom<Encapsulation>('v6udpv4', 'v6v4'),
    host: fc.integer({ min: 1, max: 2 }),
    port: fc.integer({ min: 1000, max: 1001 }),
  });
  const length = fc.option(fc.constantFrom(48, 56, 60), { nil: undefined, freq: 3 });
  const proxy = fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, fc.constant(true));
  const host = fc.integer({ min: 1, max: 3 });
  // Counted from the last one; a few are never there.
  const offer = fc.nat(3);
  const user = fc.nat(USERS.length - 1);
  return fc.oneof(
    { weight: 5, arbitrary: fc.record({ type: fc.constant('open'), who, place, length, proxy }) },
    { weight: 5, arbitrary: fc.record({ type: fc.constant('login'), who, place, length, proxy }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constantFrom('open4', 'login4'), who, host }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('login4'), who, host }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('close4'), who }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('trust', 'distrust'), user }) },
    { weight: 5, arbitrary: fc.record({ type: fc.constant('accept'), offer }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('reject'), offer }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('close'), who, place }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constantFrom('disable', 'enable'), user }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('replace'), user }) },
    {
      weight: 2,
      arbitrary: fc.record({
        type: fc.constant('pass'),
        seconds: fc.constantFrom(1, 23, 24, 61, 119, 120, 400, 999, 1000),
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('restart') }) },
  ) as fc.Arbitrary<Action>;
}
