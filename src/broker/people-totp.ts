// One-time codes of authenticator apps: TOTP (RFC 6238) over HMAC-SHA-1, six digits, half a minute, which
// is what all of them understand. Pure. Knows no person.

import { createHmac, timingSafeEqual } from 'node:crypto';

const STEP_MS = 30_000;
const DIGITS = 6;
/** RFC 4226 §4 wants 128 bits at least and recommends 160. */
export const TOTP_SECRET_OCTETS = 20;
/** Clocks differ, and people type slowly: one step before and one after. */
const DRIFT_STEPS = 1;

export function totpStep(nowMs: number): number {
  return Math.floor(nowMs / STEP_MS);
}

/** RFC 4226 §5.3. */
export function totpCode(secret: Uint8Array, step: number, digits = DIGITS): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', secret).update(counter).digest();
  const offset = mac[mac.length - 1]! & 0xf;
  const truncated = mac.readUInt32BE(offset) & 0x7fff_ffff;
  return String(truncated % 10 ** digits).padStart(digits, '0');
}

/** The step that the code is of; undefined: of none around now. Spaces do not matter. */
export function matchTotp(secret: Uint8Array, code: string, nowMs: number): number | undefined {
  const typed = code.replace(/\s/g, '');
  if (!/^\d{6}$/.test(typed)) return undefined;
  const now = totpStep(nowMs);
  for (let step = now - DRIFT_STEPS; step <= now + DRIFT_STEPS; step++)
    if (timingSafeEqual(Buffer.from(totpCode(secret, step)), Buffer.from(typed))) return step;
  return undefined;
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** RFC 4648 §6 without padding: how apps want the secret typed. */
export function base32(octets: Uint8Array): string {
  let bits = '';
  for (const octet of octets) bits += octet.toString(2).padStart(8, '0');
  return (bits.match(/.{1,5}/g) ?? [])
    .map((part) => BASE32[Number.parseInt(part.padEnd(5, '0'), 2)])
    .join('');
}

/** What the QR code says. */
export function totpUri(service: string, account: string, secret: Uint8Array): string {
  const label = `${encodeURIComponent(service)}:${encodeURIComponent(account)}`;
  return `otpauth://totp/${label}?secret=${base32(secret)}&issuer=${encodeURIComponent(service)}`;
}
