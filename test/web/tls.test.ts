// The portal with TLS of its own, and a certificate that is renewed under it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { makeCertificate } from './certificate.ts';
import { openPortal } from './portal.ts';

async function nameAt(url: string): Promise<unknown> {
  const { hostname: host, port } = new URL(url);
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return subject.CN;
}

it('TLS shows the certificate of its file, and a renewed one without a restart', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'sixway-tls-'));
  const tls = makeCertificate(directory, 'first.test');
  const portal = await openPortal({ url: 'https://portal.test', tls });
  try {
    assert.equal(await nameAt(portal.url), 'first.test');
    makeCertificate(directory, 'second.test');
    for (let i = 0; i < 50 && (await nameAt(portal.url)) !== 'second.test'; i++) await sleep(100);
    assert.equal(await nameAt(portal.url), 'second.test');
  } finally {
    await portal.close();
    rmSync(directory, { recursive: true });
  }
});
