import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Accounts } from '../../src/broker/accounts.ts';
import { deriveScram } from '../../src/broker/scram.ts';
import { BadKeyFile, loadOrMakeKey, seal, unseal } from '../../src/broker/sealing.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';

const KEY = new Uint8Array(32).fill(1);

describe('accounts', () => {
  let directory: string;
  let file: string;
  let store: Store;
  let accounts: Accounts;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-accounts-'));
    file = join(directory, 'sixway.db');
    store = await openSqliteStore({ file, create: true });
    accounts = new Accounts(store, KEY, 'elwood.innosoft.com');
  });

  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  const ha1s = async (name: string) =>
    (await accounts.credential(name))?.ha1s.map((ha1) => Buffer.from(ha1).toString('hex'));

  async function refusal(result: Promise<{ ok: boolean; refusal?: string }>) {
    return (await result).refusal;
  }

  it('keeps HA1 of name, realm and secret', async () => {
    await accounts.add('chris', 'secret');
    // md5("chris:elwood.innosoft.com:secret"), from which RFC 2831 §4 derives its example
    assert.deepEqual(await ha1s('chris'), ['eb5a750053e4d2c34aa84bbc9b0b6ee7']);
  });

  it('keeps both forms in which clients hash what ISO 8859-1 can write', async () => {
    await accounts.add('chris', 'sécret');
    assert.equal((await ha1s('chris'))?.length, 2);
    await accounts.setSecret('chris', 'ключ');
    assert.equal((await ha1s('chris'))?.length, 1);
  });

  it('keeps SCRAM’s keys of the secret that was set last', async () => {
    await accounts.add('chris', 'secret');
    await accounts.setSecret('chris', 'another');
    const { salt, iterations, storedKey, serverKey } = (await accounts.credential('chris'))!.scram!;
    assert.equal(iterations, 4096);
    const derived = deriveScram('another', salt, iterations);
    assert.deepEqual(Buffer.from(storedKey), Buffer.from(derived.storedKey));
    assert.deepEqual(Buffer.from(serverKey), Buffer.from(derived.serverKey));
  });

  it('leaves neither secret nor what lets in with it in the database’s files', async () => {
    await accounts.add('chris', 'a very recognizable secret');
    const { ha1s, scram } = (await accounts.credential('chris'))!;
    for (const name of readdirSync(directory)) {
      const content = readFileSync(join(directory, name));
      assert.equal(content.includes('a very recognizable secret'), false, name);
      for (const octets of [ha1s[0]!, scram!.storedKey, scram!.serverKey]) {
        assert.equal(content.includes(Buffer.from(octets)), false, name);
        assert.equal(content.includes(Buffer.from(octets).toString('hex')), false, name);
      }
    }
  });

  it('gives many users one secret, sealed for each, and takes them away again', async () => {
    const names = { count: 2100, at: (index: number) => `bench-${index}` };
    const seen: number[] = [];
    for (const secret of ['first', 'second']) {
      const put = await accounts.putMany(names, secret, undefined, (done) => seen.push(done));
      assert.equal(put.ok, true);
    }
    assert.deepEqual(seen, [1000, 2000, 2100, 1000, 2000, 2100]);
    await accounts.add('bench-7', 'second');
    const kept = { ha1s: await ha1s('bench-7'), other: await ha1s('bench-8') };
    assert.notDeepEqual(kept.ha1s, kept.other);
    const { salt, iterations, storedKey } = (await accounts.credential('bench-7'))!.scram!;
    const derived = deriveScram('second', salt, iterations);
    assert.deepEqual(Buffer.from(storedKey), Buffer.from(derived.storedKey));

    await accounts.add('bench-press', 'secret');
    assert.equal(await accounts.removeNumbered('bench-', () => {}), 2100);
    assert.equal(await accounts.removeNumbered('bench-', () => {}), 0);
    assert.deepEqual(
      (await accounts.list('', 9)).map(({ name }) => name),
      ['bench-press'],
    );
  });

  it('refuses many users’ names and secrets as it does one’s', async () => {
    const one = (name: string) => ({ count: 1, at: () => name });
    const put = (name: string, secret: string) =>
      refusal(accounts.putMany(one(name), secret, undefined, () => {}));
    assert.equal(await put('a:b', 'secret'), 'name-invalid');
    assert.equal(await put('ada', ''), 'secret-invalid');
  });

  it('makes a secret when none is given, another one each time', async () => {
    const first = await accounts.add('ada');
    const second = await accounts.add('bob');
    assert.ok(first.ok && second.ok);
    assert.match(first.secret, /^[a-z2-9]{20}$/);
    assert.notEqual(first.secret, second.secret);
  });

  it('refuses names that HA1 or a line of the protocol could not hold', async () => {
    const bad = ['', 'a:b', 'a"b', 'a,b', 'a\nb', 'a\0', 'a\x7f', '\ud800', 'ä'.repeat(33)];
    for (const name of bad) {
      assert.equal(await refusal(accounts.add(name, 'x')), 'name-invalid', JSON.stringify(name));
      assert.equal(await accounts.credential(name), undefined);
    }
    for (const name of ['a', 'ada@example.org', 'Ada Lovelace', 'ä'.repeat(32), '名前'])
      assert.equal((await accounts.add(name, 'x')).ok, true, name);
  });

  it('refuses secrets that no client could send', async () => {
    for (const secret of ['', 'a\nb', 'a\0b', 'x'.repeat(256)])
      assert.equal(await refusal(accounts.add('ada', secret)), 'secret-invalid');
  });

  it('knows no credential of a disabled, a removed and an unknown user', async () => {
    await accounts.add('ada', 'x');
    await accounts.disable('ada');
    assert.equal(await accounts.credential('ada'), undefined);
    await accounts.enable('ada');
    assert.notEqual(await accounts.credential('ada'), undefined);
    await accounts.remove('ada');
    assert.equal(await accounts.credential('ada'), undefined);
    for (const act of [accounts.disable, accounts.enable, accounts.remove, accounts.setSecret])
      assert.equal(await refusal(act.call(accounts, 'ada')), 'no-such-user');
  });

  it('refuses a name that is taken', async () => {
    await accounts.add('ada', 'x');
    assert.equal(await refusal(accounts.add('ada', 'y')), 'name-taken');
  });

  it('lets no sealed secret work for another user or realm', async () => {
    await accounts.add('ada', 'x');
    const mallory = await accounts.add('mallory', 'y');
    assert.ok(mallory.ok);
    const ofAda = (await store.user('ada'))!;
    await store.setUserSecret(mallory.user.id, ofAda, 0);
    assert.equal(await accounts.credential('mallory'), undefined);
    await accounts.setSecret('mallory', 'y');
    const { sealedHa1 } = (await store.user('mallory'))!;
    await store.setUserSecret(mallory.user.id, { ...ofAda, sealedHa1 }, 0);
    const credential = await accounts.credential('mallory');
    assert.equal(credential?.ha1s.length, 1);
    assert.equal(credential?.scram, undefined);
    assert.equal(await new Accounts(store, KEY, 'other').credential('ada'), undefined);
  });

  it('notices another key, and writes nothing with it', async () => {
    await accounts.add('ada', 'x');
    const other = new Accounts(store, new Uint8Array(32), accounts.realm);
    assert.equal(await accounts.keyFits(), true);
    assert.equal(await other.keyFits(), false);
    assert.equal(await refusal(other.add('bob', 'x')), 'wrong-key');
    assert.equal(await refusal(other.setSecret('ada', 'x')), 'wrong-key');
    assert.equal(await other.credential('ada'), undefined);
    assert.notEqual(await accounts.credential('ada'), undefined);
  });
});

describe('the key file', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-key-'));
  });

  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  it('is made once, for its owner only, and read from then on', () => {
    const file = join(directory, 'etc', 'secret.key');
    const made = loadOrMakeKey(file);
    assert.equal(made.length, 32);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(loadOrMakeKey(file), made);
    assert.deepEqual(readdirSync(join(directory, 'etc')), ['secret.key']);
  });

  it('is refused when it holds something else, and left alone', () => {
    const file = join(directory, 'secret.key');
    writeFileSync(file, 'short');
    assert.throws(() => loadOrMakeKey(file), BadKeyFile);
    assert.equal(readFileSync(file, 'utf8'), 'short');
  });

  it('seals the same content differently each time, and any changed octet shows', () => {
    const content = Buffer.from('content');
    const sealed = seal(createSecretKey(KEY), content, 'context');
    assert.notEqual(seal(createSecretKey(KEY), content, 'context'), sealed);
    assert.deepEqual(unseal(createSecretKey(KEY), sealed, 'context'), content);
    const octets = Buffer.from(sealed.slice(3), 'base64');
    for (let i = 0; i < octets.length; i++) {
      const changed = Buffer.from(octets);
      changed[i]! ^= 1;
      assert.equal(
        unseal(createSecretKey(KEY), `v1:${changed.toString('base64')}`, 'context'),
        undefined,
      );
    }
    for (const junk of ['', 'v1:', 'v2:AAAA', sealed.slice(0, 20)])
      assert.equal(unseal(createSecretKey(KEY), junk, 'context'), undefined);
  });
});
