// One-time codes against the vectors of RFC 6238 (appendix B) and RFC 4226 (appendix D).

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { base32, matchTotp, totpCode, totpStep, totpUri } from '../../src/broker/people-totp.ts';

const SECRET = Buffer.from('12345678901234567890', 'ascii');

describe('TOTP', () => {
  for (const [seconds, code] of [
    [59, '94287082'],
    [1_111_111_109, '07081804'],
    [1_111_111_111, '14050471'],
    [1_234_567_890, '89005924'],
    [2_000_000_000, '69279037'],
    [20_000_000_000, '65353130'],
  ] as const)
    it(`RFC 6238: at ${seconds} s it is ${code}`, () => {
      assert.equal(totpCode(SECRET, totpStep(seconds * 1000), 8), code);
    });

  it('RFC 4226: six digits by counter', () => {
    const codes = [755224, 287082, 359152, 969429, 338314, 254676, 287922, 162583, 399871, 520489];
    for (const [counter, code] of codes.entries())
      assert.equal(totpCode(SECRET, counter), String(code));
  });

  it('takes the code of the step before and after, and none else', () => {
    const nowMs = 1_111_111_111_000;
    const step = totpStep(nowMs);
    for (const drift of [-1, 0, 1])
      assert.equal(matchTotp(SECRET, totpCode(SECRET, step + drift), nowMs), step + drift);
    for (const drift of [-2, 2])
      assert.equal(matchTotp(SECRET, totpCode(SECRET, step + drift), nowMs), undefined);
    assert.equal(matchTotp(SECRET, totpCode(SECRET, step).replace(/^.../, '$& '), nowMs), step);
    for (const code of ['', '12345', '1234567', 'abcdef', '١٢٣٤٥٦'])
      assert.equal(matchTotp(SECRET, code, nowMs), undefined);
  });

  it('writes secrets as apps want them (RFC 4648 §10)', () => {
    for (const [text, encoded] of [
      ['f', 'MY'],
      ['fo', 'MZXQ'],
      ['foo', 'MZXW6'],
      ['foob', 'MZXW6YQ'],
      ['fooba', 'MZXW6YTB'],
      ['foobar', 'MZXW6YTBOI'],
    ] as const)
      assert.equal(base32(Buffer.from(text)), encoded);
    assert.equal(
      totpUri('A & B', 'ada@example.net', SECRET),
      'otpauth://totp/A%20%26%20B:ada%40example.net?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=A%20%26%20B',
    );
  });
});
