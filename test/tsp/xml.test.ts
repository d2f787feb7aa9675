import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readXml } from '../../src/tsp/xml.ts';

const read = (text: string) => readXml(Buffer.from(text));

test('elements, attributes and text are read, blanks around them are not', () => {
  assert.deepEqual(
    read(`\0\r\n<a  x='1'\n y = "2" ><!-- c --><b/> t <c> &lt;<![CDATA[&]]>&#65; </c></a>\r\n\0`),
    {
      name: 'a',
      attributes: { __proto__: null, x: '1', y: '2' },
      text: 't',
      children: [
        { name: 'b', attributes: { __proto__: null }, text: '', children: [] },
        { name: 'c', attributes: { __proto__: null }, text: '<&A', children: [] },
      ],
    },
  );
});

test('whatever could grow or lead outside is refused', () => {
  const lol = '<!DOCTYPE a [<!ENTITY l "lol"><!ENTITY m "&l;&l;">]><a>&m;</a>';
  for (const text of [
    lol,
    '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    '<!DOCTYPE a><a/>',
    '<a>&nbsp;</a>',
    '<?php x?><a/>',
    '<a><?pi?></a>',
  ]) {
    assert.equal(read(text), undefined, text);
  }
});

test('the first fault ends the reading', () => {
  for (const text of [
    '',
    'a',
    '<a>',
    '<a></b>',
    '<a x=1/>',
    '<a x="1" x="2"/>',
    '<a/><b/>',
    '<a/>x',
    '<a>\0</a>',
    '<a b="<"/>',
  ]) {
    assert.equal(read(text), undefined, text);
  }
  assert.equal(readXml(Buffer.from([0x3c, 0x61, 0x3e, 0xff, 0x3c, 0x2f, 0x61, 0x3e])), undefined);
});

test('eight levels and 4096 octets are the limit', () => {
  const nested = (depth: number) => `${'<a>'.repeat(depth)}${'</a>'.repeat(depth)}`;
  assert.ok(read(nested(8)));
  assert.equal(read(nested(9)), undefined);
  const sized = (size: number) => `<a>${'x'.repeat(size - 7)}</a>`;
  assert.ok(read(sized(4096)));
  assert.equal(read(sized(4097)), undefined);
});
