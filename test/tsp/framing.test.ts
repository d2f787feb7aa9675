import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  frame,
  nextSequence,
  readDatagram,
  readStatus,
  unframe,
  writeDatagram,
  writeStatus,
} from '../../src/tsp/framing.ts';
import { STATUS } from '../../src/tsp/messages.ts';

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

test('the UDP header is marker, sequence and timestamp in network byte order', () => {
  const first = Buffer.from('f00000f000000007', 'hex');
  const line = Buffer.from('VERSION=2.0.2\r\n');
  const datagram = readDatagram(Buffer.concat([first, line]));
  assert.deepEqual(datagram?.header, { sequence: 240, timestamp: 7 });
  assert.equal(text(datagram.payload), 'VERSION=2.0.2\r\n');

  const empty = writeDatagram({ sequence: 243, timestamp: 0x32c }, new Uint8Array());
  assert.equal(Buffer.from(empty).toString('hex'), 'f00000f30000032c');
  assert.equal(readDatagram(empty)?.payload.length, 0);
});

test('what has another first nibble or is cut short is not TSP', () => {
  for (const hex of ['', 'f0', 'f00000f0000000', '600000f000000007', '00000000f0000007']) {
    assert.equal(readDatagram(Buffer.from(hex, 'hex')), undefined, hex);
  }
});

test('headers survive the way out and in, also from the middle of a larger buffer', () => {
  fc.assert(
    fc.property(
      fc.nat(2 ** 28 - 1),
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.uint8Array({ maxLength: 40 }),
      (sequence, timestamp, payload) => {
        const bytes = writeDatagram({ sequence, timestamp }, payload);
        const inside = Buffer.concat([Buffer.from('xyz'), bytes]).subarray(3);
        assert.deepEqual(readDatagram(inside)?.header, { sequence, timestamp });
        assert.deepEqual([...(readDatagram(inside)?.payload ?? [])], [...payload]);
      },
    ),
  );
});

test('sequences wrap at 28 bits', () => {
  assert.equal(nextSequence(240), 241);
  assert.equal(nextSequence(0xfffffff), 0);
});

test('Content-length counts the octets after its line, the last CR LF included', () => {
  assert.equal(
    frame('<tunnel action="accept"></tunnel>\r\n').split('\r\n')[0],
    'Content-length: 35',
  );
  assert.equal(frame(writeStatus(STATUS.success)), 'Content-length: 13\r\n200 Success\r\n');
  assert.equal(
    frame(writeStatus(STATUS.tunnelTypeNotSupported)),
    'Content-length: 29\r\n303 Unsupported tunnel type\r\n',
  );
  assert.equal(frame('é\r\n').split('\r\n')[0], 'Content-length: 4');
});

test('a framed message is read in any case, with any blanks and either line end', () => {
  for (const head of [
    'Content-length: 5\r\n',
    'CONTENT-LENGTH:5\n',
    '\0\r\ncontent-Length :  5 \r\n',
  ]) {
    const result = unframe(Buffer.from(`${head}hello`));
    assert.equal(result.kind, 'complete', head);
    if (result.kind === 'complete') assert.equal(text(result.body), 'hello');
  }
});

test('NULs and line ends after a framed message are no part of what follows', () => {
  const result = unframe(Buffer.from('Content-length: 2\r\nhi\r\n\0'));
  assert.ok(result.kind === 'complete');
  assert.equal(result.rest.length, 0);
  const two = unframe(Buffer.from('Content-length: 2\r\nhiContent-length: 1\r\nx'));
  assert.ok(two.kind === 'complete');
  assert.equal(text(two.rest), 'Content-length: 1\r\nx');
});

test('a message says how much of it is missing', () => {
  assert.deepEqual(unframe(Buffer.from('Content-length: 35\r\n<tunnel')), {
    kind: 'incomplete',
    missing: 28,
  });
});

test('lengths of nothing, too much or no number are malformed', () => {
  for (const head of ['0', '-1', '4097', '9999999999', 'x', '']) {
    const bytes = Buffer.from(`Content-length: ${head}\r\nhello`);
    assert.equal(unframe(bytes).kind, 'malformed', head);
  }
  assert.equal(unframe(Buffer.from('hello')).kind, 'malformed');
});

test('only the number of a status line matters, with any text and any line end', () => {
  for (const line of ['200 Success\r\n', '200 OK\n', '200\r\n', '200', '200 OK\0']) {
    assert.equal(readStatus(line)?.code, 200, JSON.stringify(line));
  }
  assert.deepEqual(readStatus('1302 Try there\r\n<tunnel/>'), {
    code: 1302,
    text: 'Try there',
    rest: '<tunnel/>',
  });
  for (const line of ['', 'CAPABILITY', '20 no', '20000 no', '200x', 'cnNwYXV0aD0=']) {
    assert.equal(readStatus(line), undefined, line);
  }
});
