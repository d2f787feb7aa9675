import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIpv4 } from '../../src/address.ts';
import { deriveScram } from '../../src/broker/scram.ts';
import { Nonces } from '../../src/tsp/nonces.ts';
import {
  answerServerFirst,
  checkScram,
  inventedSalt,
  readScramFinal,
  readScramFirst,
  scramContext,
  scramCredential,
  writeScramFirst,
  writeServerFirst,
} from '../../src/tsp/scram.ts';

const CLIENT = { address: parseIpv4('203.0.113.9')!, port: 40_000 };
const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');

function conversation(login: { username: string; password: string }, cnonce = 'fresh.nonce') {
  const nonces = new Nonces(new Uint8Array(32), 60_000, 10);
  const first = readScramFirst(writeScramFirst(login.username, cnonce))!;
  const nonce = nonces.issue(CLIENT, 5000, scramContext(first));
  return {
    nonces,
    first,
    offer: (salt: Uint8Array) => writeServerFirst(first, nonce, { salt, iterations: 4096 }),
  };
}

test('SCRAM-SHA-256 gives the values of the published vector', () => {
  const cnonce = 'rOprNGfwEbeRWgbNEkqO';
  assert.equal(writeScramFirst('user', cnonce), `n,,n=user,r=${cnonce}`);
  const server = `r=${cnonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
  const answer = answerServerFirst(server, { username: 'user', password: 'pencil' }, cnonce);
  assert.deepEqual(answer, {
    final: `c=biws,r=${cnonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`,
    proof: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  });
});

test('client and server agree on any name, password and nonce, and the server needs no memory', () => {
  fc.assert(
    fc.property(
      fc
        .string({ minLength: 1, maxLength: 40, unit: 'grapheme' })
        .filter((name) => !name.includes('\0')),
      fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
      fc.stringMatching(/^[!-+.-~-]{1,60}$/),
      (username, password, cnonce) => {
        const { nonces, offer } = conversation({ username, password }, cnonce);
        const credential = scramCredential(password, SALT);
        const answer = answerServerFirst(offer(SALT), { username, password }, cnonce)!;
        const final = readScramFinal(answer.final)!;
        assert.equal(final.first.username, username);
        assert.equal(nonces.check(final.nonce, CLIENT, 6000, scramContext(final.first)), 'fresh');
        assert.equal(checkScram(final, credential), answer.proof);
        assert.equal(checkScram(final, scramCredential(`${password}!`, SALT)), undefined);
      },
    ),
    { numRuns: 60 },
  );
});

test('the keys are those that the store derives, whatever the password', () => {
  const password = fc.oneof(
    fc.string({ minLength: 1, unit: 'binary' }),
    fc.string({ minLength: 1, unit: 'grapheme' }),
    fc.array(fc.constantFrom('a', '\u00a0', '\u00ad', '\u2168', '\u0007', '\ufe0f', 'é', '\u200b')),
  );
  fc.assert(
    fc.property(password, (value) => {
      const text = typeof value === 'string' ? value : `x${value.join('')}`;
      const { storedKey, serverKey } = scramCredential(text, SALT);
      const stored = deriveScram(text, SALT, 4096);
      assert.deepEqual([storedKey, serverKey], [stored.storedKey, stored.serverKey]);
    }),
    { numRuns: 200 },
  );
  assert.deepEqual(scramCredential('\u2168\u00ad', SALT), scramCredential('IX', SALT));
});

test('a nonce serves only the name that it was issued for', () => {
  const alice = { username: 'alice', password: 'x' };
  const { nonces, offer } = conversation(alice);
  const { final } = answerServerFirst(offer(SALT), alice, 'fresh.nonce')!;
  const context = Buffer.from('n,,n=alice').toString('base64url');
  const forged = readScramFinal(
    final.replace(context, Buffer.from('n,,n=mallo').toString('base64url')),
  )!;
  assert.equal(forged.first.username, 'mallo');
  assert.equal(nonces.check(forged.nonce, CLIENT, 6000, scramContext(forged.first)), 'foreign');
  // Nor does it serve DIGEST-MD5, whose nonces have no context.
  assert.equal(nonces.check(forged.nonce, CLIENT, 6000), 'foreign');
});

test('first messages for somebody else, with demands, or with bad escapes are refused', () => {
  for (const text of [
    '',
    'n,,n=,r=abc',
    'n,,n=alice',
    'n,,n=alice,r=',
    'n,a=bob,n=alice,r=abc',
    'p=tls-unique,,n=alice,r=abc',
    'n,,m=must,n=alice,r=abc',
    'n,,n=alice,r=abc,m=must',
    'n,,n=alice,r=abc,x=optional',
    'n,,n=al=ice,r=abc',
    'n,,n=al=2cice,r=abc',
    'n,,n=alice,r=a b',
    `n,,n=${'a'.repeat(256)},r=abc`,
    `n,,n=alice,r=${'a'.repeat(129)}`,
  ]) {
    assert.equal(readScramFirst(text), undefined, text);
  }
  assert.equal(readScramFirst('y,,n=a=2Cb=3D,r=abc')?.username, 'a,b=');
});

test('last messages that are cut, doubled or bound to another header are refused', () => {
  const alice = { username: 'alice', password: 'x' };
  const { offer } = conversation(alice);
  const { final } = answerServerFirst(offer(SALT), alice, 'fresh.nonce')!;
  assert.ok(readScramFinal(final));
  for (const change of [
    final.replace('c=biws', 'c=eSws'),
    final.replace('c=biws', 'c=biws,x=1'),
    final.replace(/,p=.*/, ''),
    final.replace(/p=.*/, 'p=AAAA'),
    final.replace(/r=[^,]*/, 'r=abc'),
    final.replace(/r=[^,]*/, 'r='),
    `${final},p=x`,
  ]) {
    assert.equal(readScramFinal(change), undefined, change);
  }
});

test('a client refuses servers that take another nonce, too little work or too much', () => {
  const login = { username: 'alice', password: 'x' };
  for (const text of [
    'r=mine,s=AAAA,i=4096',
    'r=other,s=AAAA,i=4096',
    'r=minemore,s=AAAA,i=4095',
    'r=minemore,s=AAAA,i=500001',
    'r=minemore,s=,i=4096',
    'r=minemore,i=4096',
    'e=unknown-user',
    '',
  ]) {
    assert.equal(answerServerFirst(text, login, 'mine'), undefined, text);
  }
});

test('a user who does not exist has a salt that stays, and is nobody else’s', () => {
  const key = new Uint8Array(32).fill(1);
  assert.deepEqual(inventedSalt(key, 'mallory'), inventedSalt(key, 'mallory'));
  assert.notDeepEqual(inventedSalt(key, 'mallory'), inventedSalt(key, 'malloru'));
  assert.notDeepEqual(inventedSalt(key, 'mallory'), inventedSalt(new Uint8Array(32), 'mallory'));
  assert.equal(inventedSalt(key, 'mallory').salt.length, 16);
});
