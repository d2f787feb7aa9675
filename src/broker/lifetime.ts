// How long things last: keepalive intervals, silent tunnels, offers, leases. Pure arithmetic on
// seconds and Unix milliseconds; no clock.

/** Told to users' clients. Harmless whether they read minutes or seconds (RFC 5572 says both). */
export const USER_LIFETIME_SECONDS = 604_800;

/**
 * How long an offer waits for its accept. Longer than the 90 s that a TSP session is kept, so that
 * whatever a client may still accept is still its own.
 */
export const OFFER_LIFETIME_MS = 120_000;

/**
 * How long an anonymous tunnel may be up without a packet from its client. Its address may be a
 * victim's, and a victim does not speak. The looking around comes on top: 30 s in all.
 */
export const NEVER_HEARD_LIMIT_MS = 24_000;

/**
 * A client whose address was set by its user does not log in again, so it stays through holidays; but
 * one day its address may be another customer's.
 */
export const STATIC_SILENCE_MS = 14 * 86_400_000;

const MIN_KEEPALIVE_SECONDS = 5;

/** The first keepalive comes after one interval, and has to come before NEVER_HEARD_LIMIT_MS. */
const MAX_ANONYMOUS_KEEPALIVE_SECONDS = 15;

/** A client may ask for more frequent keepalives than the policy's, never for rarer ones. */
export function keepaliveSecondsFor(
  wantsSeconds: number | undefined,
  policySeconds: number,
  authenticated: boolean,
): number {
  const maxSeconds = authenticated
    ? policySeconds
    : Math.min(policySeconds, MAX_ANONYMOUS_KEEPALIVE_SECONDS);
  if (wantsSeconds === undefined) return maxSeconds;
  return Math.min(maxSeconds, Math.max(MIN_KEEPALIVE_SECONDS, wantsSeconds));
}

/** How long the kernel may not hear from a client, by whether it has ever heard from it. */
export interface SilenceLimits {
  readonly heardMs: number;
  readonly neverHeardMs: number;
}

/**
 * Three lost keepalives and some. A NAT gives an unused port to the next customer, who must not get
 * the tunnel's packets for long.
 */
export function silenceOf(tunnel: {
  readonly anonymous: boolean;
  readonly keepaliveSeconds: number;
  readonly isStatic?: boolean;
}): SilenceLimits {
  if (tunnel.isStatic) return { heardMs: STATIC_SILENCE_MS, neverHeardMs: STATIC_SILENCE_MS };
  const heardMs = (3 * tunnel.keepaliveSeconds + 30) * 1000;
  return { heardMs, neverHeardMs: tunnel.anonymous ? NEVER_HEARD_LIMIT_MS : heardMs };
}
