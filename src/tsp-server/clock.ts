// The time that sessions see. Monotonic, yet near the wall clock: sessions and nonces must not see
// time go back.

/** Milliseconds, whole. */
export function sessionNowMs(): number {
  return Math.floor(performance.timeOrigin + performance.now());
}
