import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  readTunnel,
  TUNNEL_OFFSET,
  TUNNEL_SIZE,
  writeTunnel,
} from '../../src/dataplane/layout.gen.ts';
import { generateLayout } from '../../tools/generate-layout.ts';

describe('the layout that user space reads', () => {
  test('is what bpf/layout.h says', () => {
    const inTree = join(import.meta.dirname, '../../src/dataplane/layout.gen.ts');
    assert.equal(readFileSync(inTree, 'utf8'), generateLayout());
  });

  test('reads back what it wrote, at any offset', () => {
    const view = new DataView(new ArrayBuffer(3 * TUNNEL_SIZE));
    const tunnel = {
      endpoint: 0x0001_0e45_c000_0201n,
      interfaceId: 0xffff_ffff_ffff_fffen,
      inPackets: 1n,
      inBytes: 2n,
      outPackets: 3n,
      outBytes: 4n,
      inLastSeen: 0xffff_ffff,
      outLastSeen: 6,
      lastTooBig: 7,
      mtu: 1280,
      flags: 1,
    };
    writeTunnel(view, TUNNEL_SIZE, tunnel);
    assert.deepEqual(readTunnel(view, TUNNEL_SIZE), tunnel);
    assert.equal(readTunnel(view, 2 * TUNNEL_SIZE).endpoint, 0n);
    assert.equal(TUNNEL_OFFSET.endpoint, 0, 'one aligned 64-bit store');
  });
});
