// Whether a login's proof fits what the store keeps of the secret, one mechanism like the other: the
// same work whatever is wrong, so that time tells nobody which names exist. Keeps no state.

import { checkDigest, type DigestResponse } from './digest-md5.ts';
import type { Mechanism } from './messages.ts';
import { type Credential, checkPlain, type PlainLogin, type ScramCredential } from './sasl.ts';
import { checkScram, SCRAM_ITERATIONS, type ScramFinal } from './scram.ts';

/** What a client has shown of its secret. */
export type Attempt =
  | { readonly mechanism: 'PLAIN'; readonly login: PlainLogin }
  | { readonly mechanism: 'DIGEST-MD5'; readonly response: DigestResponse }
  | { readonly mechanism: 'SCRAM-SHA-256'; readonly response: ScramFinal };

export type AttemptMechanism = Exclude<Mechanism, 'ANONYMOUS'>;

export function usernameOf(attempt: Attempt): string {
  switch (attempt.mechanism) {
    case 'PLAIN':
      return attempt.login.username;
    case 'DIGEST-MD5':
      return attempt.response.username;
    case 'SCRAM-SHA-256':
      return attempt.response.first.username;
  }
}

/**
 * Undefined: wrong. Else the server's own proof, to be sent before the 200; PLAIN knows none and
 * gives an empty text. `credential` is undefined for a user who does not exist: nothing is right then.
 */
export function judge(
  attempt: Attempt,
  realm: string,
  credential: Credential | undefined,
): string | undefined {
  const proof = proofOf(attempt, realm, credential ?? DECOY);
  return credential && proof;
}

function proofOf(attempt: Attempt, realm: string, credential: Credential): string | undefined {
  switch (attempt.mechanism) {
    case 'PLAIN':
      return checkPlain(attempt.login, realm, credential) ? '' : undefined;
    case 'DIGEST-MD5':
      return checkDigest(attempt.response, realm, credential);
    case 'SCRAM-SHA-256':
      return checkScram(attempt.response, credential.scram ?? DECOY.scram);
  }
}

/** Stands in where there is no secret, so that the same work is done. Nothing fits it. */
const DECOY: Credential & { readonly scram: ScramCredential } = {
  ha1s: [new Uint8Array(16)],
  scram: {
    salt: new Uint8Array(16),
    iterations: SCRAM_ITERATIONS,
    storedKey: new Uint8Array(32),
    serverKey: new Uint8Array(32),
  },
};
