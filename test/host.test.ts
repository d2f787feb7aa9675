import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelIsRecentEnough, kernelVersion, sysctl } from '../src/host.ts';

test('a kernel’s release is read and compared by number', () => {
  assert.deepEqual(kernelVersion('6.12.48-1-amd64'), { major: 6, minor: 12 });
  assert.ok(kernelIsRecentEnough(kernelVersion('6.6.0')));
  assert.ok(kernelIsRecentEnough(kernelVersion('7.0.1')));
  assert.ok(!kernelIsRecentEnough(kernelVersion('6.1.0-39-amd64')));
  assert.ok(!kernelIsRecentEnough(kernelVersion('5.15.0')));
});

test('a sysctl that the kernel has is read, another is undefined', () => {
  assert.match(sysctl('net.ipv6.conf.all.forwarding') ?? '', /^[01]$/);
  assert.equal(sysctl('net.ipv6.conf.no_such_device.forwarding'), undefined);
});
