// How long things last: keepalive intervals, silent tunnels, offers, leases. Pure arithmetic on
// seconds and Unix milliseconds; no clock.

/** Told to users' clients. Harmless whether they read minutes or seconds (RFC 5572 says both). */
export const USER_LIFETIME_SECONDS = 604_800;

/**
 * How long an offer waits for its accept. Longer than the 90 s that a TSP session is kept, so that
 * whatever a client may still accept is still its own.
 */
export const OFFER_LIFETIME_MS = 120_000;

const MIN_KEEPALIVE_SECONDS = 5;

/** A client may ask for more frequent keepalives than the policy's, never for rarer ones. */
export function keepaliveSecondsFor(
  wantsSeconds: number | undefined,
  policySeconds: number,
): number {
  if (wantsSeconds === undefined) return policySeconds;
  return Math.min(policySeconds, Math.max(MIN_KEEPALIVE_SECONDS, wantsSeconds));
}

/**
 * How long a tunnel may be silent: three lost keepalives and some. A NAT gives an unused port to the
 * next customer, who must not get the tunnel's packets for long.
 */
export function idleLimitMs(keepaliveSeconds: number): number {
  return (3 * keepaliveSeconds + 30) * 1000;
}
