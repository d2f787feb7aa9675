// Mails by real SMTP: over TLS and with a login, never without where they are asked for, and not lost
// when the server is away.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { SMTPServer } from 'smtp-server';
import { smtpTransport } from '../../src/web/smtp.ts';
import { makeCertificate } from './certificate.ts';

const MAIL = {
  to: 'ada@example.net',
  subject: 'مرحبًا – Example',
  text: 'Hello\n.\nEnd\n',
  html: '<p>Hello</p>',
};
const FROM = 'Example Tunnels <no-reply@portal.test>';

describe('mail by SMTP', () => {
  let directory: string;
  let certificate: ReturnType<typeof makeCertificate>;
  let server: SMTPServer | undefined;
  let received: { from: string; to: string[]; content: string; secure: boolean; user: unknown }[];

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-smtp-'));
    certificate = makeCertificate(directory, 'localhost');
  });

  after(() => rmSync(directory, { recursive: true }));

  afterEach(() => {
    server?.close();
  });

  async function listen(options: object): Promise<number> {
    received = [];
    server = new SMTPServer({
      authOptional: true,
      onAuth: ({ username, password }, _session, done) =>
        password === 'right' ? done(null, { user: username }) : done(new Error('no')),
      onData: (stream, session, done) => {
        const parts: Buffer[] = [];
        stream.on('data', (part: Buffer) => parts.push(part));
        stream.on('end', () => {
          const { mailFrom, rcptTo } = session.envelope;
          received.push({
            from: mailFrom ? mailFrom.address : '',
            to: rcptTo.map(({ address }) => address),
            content: Buffer.concat(parts).toString('utf8'),
            secure: session.secure,
            user: session.user,
          });
          done();
        });
      },
      logger: false,
      ...options,
    });
    server.on('error', () => {});
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', () => resolve()));
    return (server.server.address() as AddressInfo).port;
  }

  const to = (port: number, tls: 'none' | 'starttls' | 'tls', password?: string) =>
    smtpTransport({
      host: '127.0.0.1',
      port,
      tls,
      login: password === undefined ? undefined : { user: 'sixway', password },
      from: FROM,
    });

  it('sends text and HTML, and says that no machine should answer', async () => {
    await to(await listen({ disabledCommands: ['STARTTLS'] }), 'none')(MAIL);
    const [mail] = received;
    assert.equal(mail?.from, 'no-reply@portal.test');
    assert.deepEqual(mail?.to, ['ada@example.net']);
    assert.match(mail?.content ?? '', /^Auto-Submitted: auto-generated/m);
    assert.match(mail?.content ?? '', /multipart\/alternative/);
    assert.match(mail?.content ?? '', /^Subject: =\?UTF-8\?/m);
  });

  it('logs in, and says when that fails', async () => {
    const port = await listen({ authOptional: false, allowInsecureAuth: true });
    await to(port, 'none', 'right')(MAIL);
    assert.equal(received[0]?.user, 'sixway');
    await assert.rejects(to(port, 'none', 'wrong')(MAIL));
  });

  it('sends nothing in clear text when TLS is asked for', async () => {
    const port = await listen({ disabledCommands: ['STARTTLS'] });
    await assert.rejects(to(port, 'starttls', 'right')(MAIL));
    await assert.rejects(to(port, 'tls')(MAIL));
    assert.deepEqual(received, []);
  });

  it('sends nothing to who has not a valid certificate', async () => {
    const tls = {
      key: readFileSync(certificate.keyFile),
      cert: readFileSync(certificate.certificateFile),
    };
    await assert.rejects(to(await listen({ ...tls }), 'starttls')(MAIL), /self-signed/);
    server?.close();
    await assert.rejects(to(await listen({ ...tls, secure: true }), 'tls')(MAIL), /self-signed/);
    assert.deepEqual(received, []);
  });

  it('fails when nobody is there, for the queue to try again', async () => {
    const port = await listen({});
    await new Promise<void>((resolve) => server!.close(() => resolve()));
    await assert.rejects(to(port, 'none')(MAIL), /ECONNREFUSED/);
  });
});
