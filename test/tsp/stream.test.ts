import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MAX_LINE_OCTETS, type StreamExpectation, takeMessage } from '../../src/tsp/stream.ts';
import { ACCEPT } from './examples.ts';

function take(text: string, expected: StreamExpectation) {
  const taken = takeMessage(Buffer.from(text, 'latin1'), expected);
  if (taken.kind !== 'message') return taken.kind === 'incomplete' ? taken.begun : taken.kind;
  return [
    Buffer.from(taken.payload).toString('latin1'),
    Buffer.from(taken.rest).toString('latin1'),
  ];
}

test('a line ends at CR or LF; what stands between lines is nobody’s', () => {
  assert.deepEqual(take('VERSION=2.0.2\r\nA', 'line'), ['VERSION=2.0.2', '\r\nA']);
  assert.deepEqual(take('\r\n\0\b A\n', 'line'), ['A', '\n']);
  assert.deepEqual(take('A\rB', 'line'), ['A', '\rB']);
});

test('a line without an end is waited for, to a limit', () => {
  assert.equal(take('', 'line'), false);
  assert.equal(take('\r\n\0', 'line'), false);
  assert.equal(take('A', 'line'), true);
  assert.equal(take('A'.repeat(MAX_LINE_OCTETS), 'line'), true);
  assert.equal(take('A'.repeat(MAX_LINE_OCTETS + 1), 'line'), 'malformed');
});

test('the NULs of a PLAIN line are kept', () => {
  assert.deepEqual(take('\n\0\0alice\0s3cret\r\n', 'credentials'), ['\0\0alice\0s3cret', '\r\n']);
  assert.equal(take('\r\n', 'credentials'), false);
  assert.equal(take('\0', 'credentials'), true);
});

test('a command has as many octets as it says, and the next begins behind it', () => {
  assert.deepEqual(take(`\r\n\0${ACCEPT}${ACCEPT}`, 'command'), [ACCEPT, ACCEPT]);
  assert.deepEqual(take(`${ACCEPT} \r\n`, 'command'), [ACCEPT, ' \r\n']);
  for (let length = 1; length < ACCEPT.length; length++) {
    assert.equal(take(ACCEPT.slice(0, length), 'command'), true, `${length}`);
  }
  assert.equal(take('\0\0', 'command'), false);
  assert.equal(take('Content-length: 4097\r\n', 'command'), 'malformed');
  assert.equal(take('Content-length: x'.padEnd(64), 'command'), 'malformed');
});

test('no octets make it throw, and nothing is lost', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom('line', 'credentials', 'command' as const),
      (bytes, expected) => {
        const taken = takeMessage(bytes, expected);
        if (taken.kind !== 'message') return;
        const { payload, rest } = taken;
        assert.ok(payload.length > 0 && payload.length + rest.length <= bytes.length);
        assert.deepEqual(bytes.subarray(bytes.length - rest.length), rest);
      },
    ),
  );
});
