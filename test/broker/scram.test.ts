import assert from 'node:assert/strict';
import { createHmac, hash } from 'node:crypto';
import { describe, it } from 'node:test';
import { deriveScram, packScram, unpackScram } from '../../src/broker/scram.ts';

const hex = (octets: Uint8Array) => Buffer.from(octets).toString('hex');

/** What a client that knows the secret's text sends and expects (RFC 5802 §3). */
function exchange(secret: string) {
  // RFC 7677 §3
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
  const message =
    'n=user,r=rOprNGfwEbeRWgbNEkqO,' +
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,' +
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
  const { storedKey, serverKey } = deriveScram(secret, salt, 4096);
  const sign = (key: Uint8Array) => createHmac('sha256', key).update(message).digest();
  return { storedKey, clientSignature: sign(storedKey), serverSignature: sign(serverKey) };
}

describe('what is kept for SCRAM-SHA-256', () => {
  it('accepts the proof of RFC 7677’s example and gives its signature', () => {
    const { storedKey, clientSignature, serverSignature } = exchange('pencil');
    const proof = Buffer.from('dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=', 'base64');
    const clientKey = proof.map((octet, i) => octet ^ clientSignature[i]!);
    assert.equal(hex(hash('sha256', clientKey, 'buffer')), hex(storedKey));
    assert.equal(
      serverSignature.toString('base64'),
      '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
    );
  });

  it('has another salt each time', () => {
    const first = deriveScram('pencil');
    const second = deriveScram('pencil');
    assert.equal(first.salt.length, 16);
    assert.notDeepEqual(first.salt, second.salt);
    assert.notDeepEqual(first.storedKey, second.storedKey);
  });

  it('does not mind from which keyboard the same secret comes (RFC 4013 §3)', () => {
    const same = (a: string, b: string) =>
      assert.equal(hex(exchange(a).storedKey), hex(exchange(b).storedKey), JSON.stringify([a, b]));
    same('I\u00adX', 'IX');
    same('\u00aa', 'a');
    same('\u2168', 'IX');
    same('a\u00a0b', 'a b');
    same('e\u0301', '\u00e9');
    assert.notEqual(hex(exchange('USER').storedKey), hex(exchange('user').storedKey));
  });

  it('takes secrets as they are that SASLprep would forbid, or make empty', () => {
    const raw = (secret: string) => {
      const { salt, iterations, storedKey } = deriveScram(secret);
      assert.equal(hex(deriveScram(secret, salt, iterations).storedKey), hex(storedKey));
      return hex(exchange(secret).storedKey);
    };
    assert.notEqual(raw('\ue000\u00aa'), raw('\ue000a'));
    assert.notEqual(raw('\u00ad'), raw('\u200d'));
  });

  it('comes back from its packed form, and from nothing else', () => {
    const made = deriveScram('pencil');
    const packed = Buffer.from(packScram(made));
    const again = unpackScram(packed)!;
    assert.equal(again.iterations, made.iterations);
    for (const part of ['salt', 'storedKey', 'serverKey'] as const)
      assert.equal(hex(again[part]), hex(made[part]), part);
    assert.equal(unpackScram(packed.subarray(1)), undefined);
  });
});
