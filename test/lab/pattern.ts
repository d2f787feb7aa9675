// The bytes that bulk transfers carry: every 64 KiB block is the same, so that both ends can know
// the sum of any length without keeping it.

import { createHash } from 'node:crypto';

const BLOCK = Buffer.alloc(65_536);
for (let i = 0; i < BLOCK.length; i++) BLOCK[i] = (i * 31 + (i >> 8)) & 255;

/** The first `length` bytes of a block; at most 65,536. */
export function patternBlock(length: number): Buffer {
  return BLOCK.subarray(0, length);
}

/** SHA-256, in hex, of `length` bytes of whole blocks and a last partial one. */
export function patternSum(length: number): string {
  const hash = createHash('sha256');
  for (let left = length; left > 0; left -= BLOCK.length)
    hash.update(patternBlock(Math.min(left, BLOCK.length)));
  return hash.digest('hex');
}
