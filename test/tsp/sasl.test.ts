import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  answerChallenge,
  checkDigest,
  digestValues,
  readChallenge,
  readDigestResponse,
  writeChallenge,
} from '../../src/tsp/digest-md5.ts';
import { Nonces } from '../../src/tsp/nonces.ts';
import {
  checkPlain,
  ha1Forms,
  readBase64,
  readPlain,
  writeBase64,
  writePlain,
} from '../../src/tsp/sasl.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const credentialOf = (...[user, realm, password]: Parameters<typeof ha1Forms>) => ({
  ha1s: ha1Forms(user, realm, password),
});

// RFC 5572's example (its password is `password`), a vector of our own, and RFC 2831's.
const VECTORS = [
  {
    login: { username: 'username1', password: 'password' },
    realm: 'hexos',
    nonce: '1113908968',
    cnonce: '1113923311',
    digestUri: 'tsp/hexos',
    ha1: 'd66373181c8c7fb0f424111d3464431d',
    response: 'f8e42b3c50c59771853f6274fcffd1ca',
    rspauth: '70d5cabc9235568be380ba2c907381fe',
  },
  {
    login: { username: 'alice', password: 'correct horse' },
    realm: 'tb.example',
    nonce: 'Zk3vQ0f1h8Wm2sXy7LpT4A',
    cnonce: '1700000000',
    digestUri: 'tsp/tb.example.net',
    ha1: '6ffbd857bd3ab043a46fd4fa9a832c0b',
    response: '9f5e2548e6046f3b5474239f134010f5',
    rspauth: '9f0e53db8bcbd9e1015e0f5286ad4fc7',
  },
  {
    login: { username: 'chris', password: 'secret' },
    realm: 'elwood.innosoft.com',
    nonce: 'OA6MG9tEQGm2hh',
    cnonce: 'OA6MHXh6VqTrRk',
    digestUri: 'imap/elwood.innosoft.com',
    ha1: undefined,
    response: 'd388dad90d4bbd760a152321f2143af7',
    rspauth: 'ea40f60335c427b5527b84dbabcdfffd',
  },
];

test('DIGEST-MD5 gives the values of the published vectors, at both ends', () => {
  for (const { login, realm, nonce, cnonce, digestUri, ...expected } of VECTORS) {
    const [ha1] = ha1Forms(login.username, realm, login.password);
    if (expected.ha1) assert.equal(hex(ha1), expected.ha1);
    assert.deepEqual(digestValues(ha1, { nonce, cnonce, digestUri }), {
      response: expected.response,
      rspauth: expected.rspauth,
    });
    const answer = answerChallenge({ realm, nonce, charset: 'utf-8' }, login, cnonce, digestUri);
    assert.equal(answer.rspauth, `rspauth=${expected.rspauth}`);
    assert.ok(answer.response.includes(`response=${expected.response},`));
  }
});

test('the challenge is one line without blanks, whose base64 is no status code', () => {
  const line = writeBase64(writeChallenge('tb.example', 'Zk3vQ0f1h8Wm2sXy7LpT4A'));
  assert.equal(
    line,
    'cmVhbG09InRiLmV4YW1wbGUiLG5vbmNlPSJaazN2UTBmMWg4V20yc1h5N0xwVDRBIixxb3A9ImF1dGgiLGNoYXJzZXQ9dXRmLTgsYWxnb3JpdGhtPW1kNS1zZXNz\r\n',
  );
  assert.equal(
    writeBase64('rspauth=9f0e53db8bcbd9e1015e0f5286ad4fc7'),
    'cnNwYXV0aD05ZjBlNTNkYjhiY2JkOWUxMDE1ZTBmNTI4NmFkNGZjNw==\r\n',
  );
});

test('challenges are read quoted and not, and HexOS’s charset is given back as it came', () => {
  const hexos = 'realm=hexos,nonce=1113908968,qop=auth,algorithm=md5-sess,charset=utf8';
  const challenge = readChallenge(hexos);
  assert.deepEqual(challenge, { realm: 'hexos', nonce: '1113908968', charset: 'utf8' });
  const login = { username: 'username1', password: 'password' };
  const { response } = answerChallenge(challenge, login, '1113923311', 'tsp/hexos');
  assert.ok(response.startsWith('charset=utf8,username="username1",'));
  assert.deepEqual(
    readChallenge('realm="a, b" , nonce="x\\"y",qop="auth-int,auth",cipher="rc4",maxbuf=9'),
    { realm: 'a, b', nonce: 'x"y' },
  );
});

test('challenges that we cannot answer are refused', () => {
  for (const text of [
    '',
    'realm="r"',
    'realm="r",nonce=""',
    'nonce=x,qop="auth-int"',
    'nonce=x,algorithm=md5',
    'nonce="x',
    'nonce',
  ]) {
    assert.equal(readChallenge(text), undefined, text);
  }
});

const alice = VECTORS[1]!;
const rightResponse =
  'charset=utf-8,username="alice",realm="tb.example",nonce="Zk3vQ0f1h8Wm2sXy7LpT4A",nc=00000001,' +
  'cnonce="1700000000",digest-uri="tsp/tb.example.net",response=9f5e2548e6046f3b5474239f134010f5,qop=auth';
const aliceCredential = credentialOf('alice', 'tb.example', 'correct horse');

test('the right response earns the proof that the server knows the secret', () => {
  const response = readDigestResponse(rightResponse);
  assert.ok(response);
  assert.equal(checkDigest(response, 'tb.example', aliceCredential), `rspauth=${alice.rspauth}`);
  const variant = readDigestResponse(
    ` ${rightResponse.replaceAll(',', ' , ').replace('9f5e', '9F5E')},new=1,new=2\0`,
  );
  assert.deepEqual(variant, response);
});

test('a wrong password, realm, service or identity earns nothing', () => {
  const response = readDigestResponse(rightResponse)!;
  const wrong = credentialOf('alice', 'tb.example', 'battery staple');
  assert.equal(checkDigest(response, 'tb.example', wrong), undefined);
  assert.equal(checkDigest(response, 'tb.example', { ha1s: [] }), undefined);
  assert.equal(checkDigest(response, 'other.example', aliceCredential), undefined);
  const hash = (digestUri: string, authzid?: string) => ({
    ...response,
    digestUri,
    ...(authzid === undefined ? {} : { authzid }),
    response: digestValues(aliceCredential.ha1s[0], {
      ...response,
      digestUri,
      ...(authzid === undefined ? {} : { authzid }),
    }).response,
  });
  const check = (...input: Parameters<typeof hash>) =>
    checkDigest(hash(...input), 'tb.example', aliceCredential);
  assert.equal(check('imap/tb.example.net'), undefined);
  assert.equal(check('tsp/x', 'bob'), undefined);
  // The host is whatever the user typed as server.
  assert.match(check('tsp/[192.0.2.1]:3653') ?? '', /^rspauth=/);
  assert.match(check('tsp/x', 'alice') ?? '', /^rspauth=/);
});

test('responses that lack or double a directive, or are no first use, are unreadable', () => {
  for (const [part, by] of [
    ['username="alice",', ''],
    ['nonce="Zk3vQ0f1h8Wm2sXy7LpT4A",', ''],
    ['cnonce="1700000000",', ''],
    ['digest-uri="tsp/tb.example.net",', ''],
    ['response=9f5e2548e6046f3b5474239f134010f5,', ''],
    ['9f5e2548e6046f3b5474239f134010f5', '9f5e'],
    ['nc=00000001', 'nc=00000002'],
    ['qop=auth', 'qop=auth-int'],
    ['charset=utf-8', 'charset=utf-8,username="bob"'],
    ['"alice"', `"${'a'.repeat(256)}"`],
    ['"alice"', '"alice'],
  ] as const) {
    assert.equal(readDigestResponse(rightResponse.replace(part, by)), undefined, `${part} ${by}`);
  }
});

test('a secret whose hash holds a zero octet works (old servers stopped there)', () => {
  let n = 0;
  const password = () => `password ${n}`;
  while (!ha1Forms('alice', 'r', password())[0].slice(0, 15).includes(0)) n++;
  const challenge = { realm: 'r', nonce: 'n', charset: 'utf-8' };
  const login = { username: 'alice', password: password() };
  const answer = answerChallenge(challenge, login, 'c', 'tsp/x');
  const response = readDigestResponse(answer.response)!;
  const credential = credentialOf('alice', 'r', password());
  assert.equal(checkDigest(response, 'r', credential), answer.rspauth);
  // The octets after the zero count.
  const cut = Uint8Array.from(credential.ha1s[0]);
  cut[15] = cut[15]! ^ 1;
  assert.equal(checkDigest(response, 'r', { ha1s: [cut] }), undefined);
});

test('names and passwords beyond ASCII log in, hashed as ISO 8859-1 or as UTF-8', () => {
  assert.equal(ha1Forms('alice', 'r', 'secret').length, 1);
  assert.equal(ha1Forms('жанна', 'r', 'пароль').length, 1);
  const credential = credentialOf('jörg', 'r', 'grün');
  assert.equal(credential.ha1s.length, 2);
  for (const [index, charset] of [
    [0, 'latin1'],
    [1, 'utf8'],
  ] as const) {
    const octets = Buffer.from('jörg:r:grün', charset).toString('latin1');
    const values = digestValues(credential.ha1s[index]!, {
      nonce: 'n',
      cnonce: 'c',
      digestUri: 'tsp/x',
    });
    const name = octets.split(':')[0];
    const response = readDigestResponse(
      `username="${name}",realm="r",nonce="n",cnonce="c",nc=00000001,digest-uri="tsp/x",response=${values.response}`,
    );
    assert.equal(response?.username, 'jörg');
    assert.equal(checkDigest(response, 'r', credential), `rspauth=${values.rspauth}`);
  }
  assert.ok(checkPlain({ username: 'jörg', password: 'grün' }, 'r', credential));
});

test('client and server agree on any name, realm, password and charset', () => {
  const part = fc.string({ unit: 'binary', minLength: 1, maxLength: 30 });
  const charset = fc.constantFrom('utf-8', 'utf8');
  fc.assert(
    fc.property(part, part, fc.stringMatching(/^[a-z.]{1,20}$/), charset, (...values) => {
      const [username, password, realm, chosen] = values;
      fc.pre(Buffer.byteLength(username) <= 255);
      const challenge = { realm, nonce: 'n"\\', charset: chosen };
      const answer = answerChallenge(challenge, { username, password }, 'c', 'tsp/x');
      const response = readDigestResponse(answer.response);
      assert.ok(response);
      assert.equal(response.nonce, 'n"\\');
      const credential = credentialOf(username, realm, password);
      assert.equal(checkDigest(response, realm, credential), answer.rspauth);
    }),
  );
});

test('PLAIN is read raw, as gogoc sends it, and in base64', () => {
  const alicePlain = { username: 'alice', password: 's3cret' };
  assert.equal(
    Buffer.from(writePlain(alicePlain), 'latin1').toString('hex'),
    '00616c69636500733363726574 0d0a'.replace(' ', ''),
  );
  for (const text of [
    '\0alice\0s3cret\r\n',
    '\0\0alice\0s3cret\r\n',
    '\0alice\0s3cret',
    '\0alice\0s3cret\0',
    '\0alice\0s3cret\r\n\0',
    'alice\0alice\0s3cret\r\n',
    'AGFsaWNlAHMzY3JldA==\r\n',
    'YWxpY2UAYWxpY2UAczNjcmV0',
  ]) {
    assert.deepEqual(readPlain(Buffer.from(text)), alicePlain, JSON.stringify(text));
  }
  assert.deepEqual(readPlain(Buffer.from('\0j\xf6rg\0 pass \r\n', 'latin1')), {
    username: 'jörg',
    password: ' pass ',
  });
  assert.deepEqual(
    readPlain(Buffer.from(writePlain({ username: 'jörg', password: 'ß' }), 'latin1')),
    {
      username: 'jörg',
      password: 'ß',
    },
  );
});

test('PLAIN without name, without password or for somebody else is refused', () => {
  for (const text of [
    '',
    '\r\n',
    'alice',
    '\0alice\r\n',
    '\0alice\0\r\n',
    '\0\0\0s3cret\r\n',
    'bob\0alice\0s3cret\r\n',
    '\0a\0b\0c\0d\r\n',
    `\0${'a'.repeat(256)}\0b\r\n`,
  ]) {
    assert.equal(readPlain(Buffer.from(text)), undefined, JSON.stringify(text));
  }
});

test('a PLAIN password is checked against the stored hash', () => {
  const credential = credentialOf('alice', 'r', 's3cret');
  assert.ok(checkPlain({ username: 'alice', password: 's3cret' }, 'r', credential));
  assert.ok(!checkPlain({ username: 'alice', password: 's3cre' }, 'r', credential));
  assert.ok(!checkPlain({ username: 'bob', password: 's3cret' }, 'r', credential));
  assert.ok(!checkPlain({ username: 'alice', password: 's3cret' }, 'x', credential));
  assert.ok(!checkPlain({ username: 'alice', password: 's3cret' }, 'r', { ha1s: [] }));
});

test('base64 lines are read with or without a line end, and nothing else is', () => {
  assert.equal(readBase64('AP8=\r\n\0'), '\0\xff');
  assert.equal(readBase64('AP8='), '\0\xff');
  for (const line of ['', 'A', '200 OK', 'AP8=x', 'é']) assert.equal(readBase64(line), undefined);
});

const key = new Uint8Array(32).fill(7);
const client = { address: 0x0a000001, port: 4000 };

test('a nonce serves its client for its lifetime, once', () => {
  const nonces = new Nonces(key, 1000, 10);
  const nonce = nonces.issue(client, 5000.7);
  assert.match(nonce, /^[A-Za-z0-9_-]{32}$/);
  assert.notEqual(nonces.issue(client, 5000.7), nonce);
  assert.equal(nonces.check(nonce, client, 5000), 'fresh');
  assert.equal(nonces.check(nonce, client, 6000), 'fresh');
  assert.equal(nonces.check(nonce, client, 6001), 'foreign');
  assert.equal(nonces.check(nonce, client, 4999), 'foreign');
  assert.equal(nonces.check(nonce, { ...client, port: 4001 }, 5000), 'foreign');
  assert.equal(nonces.check(nonce, { ...client, address: 1 }, 5000), 'foreign');
  assert.equal(new Nonces(new Uint8Array(32), 1000, 10).check(nonce, client, 5000), 'foreign');
  nonces.spend(nonce, 5500);
  assert.equal(nonces.check(nonce, client, 6000), 'used');
});

test('no other spelling of a used nonce is taken', () => {
  const nonces = new Nonces(key, 1000, 10);
  const nonce = nonces.issue(client, 5000);
  nonces.spend(nonce, 5000);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=';
  for (const last of alphabet) {
    const other = nonce.slice(0, -1) + last;
    assert.notEqual(nonces.check(other, client, 5000), 'fresh', other);
  }
});

test('used nonces are forgotten after their lifetime, and are never more than the limit', () => {
  const nonces = new Nonces(key, 1000, 2);
  const issued = [1, 2, 3].map((port) => nonces.issue({ address: 1, port }, 5000));
  nonces.spend(issued[0]!, 5000);
  nonces.spend(issued[1]!, 5001);
  assert.equal(nonces.check(issued[2]!, { address: 1, port: 3 }, 5500), 'full');
  const later = nonces.issue({ address: 1, port: 3 }, 6501);
  assert.equal(nonces.check(later, { address: 1, port: 3 }, 6501), 'fresh');
});

test('any text is a nonce that is judged', () => {
  const nonces = new Nonces(key, 1000, 10);
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
      assert.equal(nonces.check(text, client, 5000), 'foreign');
    }),
  );
});
