// `sixway web` as it is run: a process of its own, with no capability and as nobody in particular, on a
// store that a daemon has made; mails go to a real SMTP server.

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { SMTPServer } from 'smtp-server';
import { Browser, PASSWORD } from './portal.ts';

const SIXWAY = join(import.meta.dirname, '..', '..', 'bin', 'sixway');

describe('sixway web', () => {
  let directory: string;
  let config: string;
  let url: string;
  let mails: string[];
  let smtp: SMTPServer;
  let portal: ChildProcess | undefined;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-web-'));
    mails = [];
    smtp = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      onData: (stream, _session, done) => {
        const parts: Buffer[] = [];
        stream.on('data', (part: Buffer) => parts.push(part));
        stream.on('end', () => {
          mails.push(Buffer.concat(parts).toString('utf8'));
          done();
        });
      },
    });
    await new Promise<void>((resolve) => smtp.listen(0, '127.0.0.1', () => resolve()));
    const smtpPort = (smtp.server.address() as AddressInfo).port;
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    config = join(directory, 'sixway.toml');
    writeFileSync(
      config,
      `
        [server]
        name = "broker.example"
        address = "127.0.0.1"
        [store]
        database = "${directory}/sixway.db"
        keyFile = "${directory}/secret.key"
        [web]
        listen = "127.0.0.1:${port}"
        signUp = "domains"
        domains = ["example.net"]
        [mail]
        host = "127.0.0.1"
        port = ${smtpPort}
        tls = "none"
      `,
    );
  });

  afterEach(async () => {
    if (portal?.exitCode === null) {
      portal.kill();
      await once(portal, 'exit');
    }
    portal = undefined;
    await new Promise<void>((resolve) => smtp.close(() => resolve()));
    rmSync(directory, { recursive: true });
  });

  const sixway = (...args: string[]) =>
    execFileSync(SIXWAY, [...args, '--config', config], { encoding: 'utf8' });

  it('needs no capability; what it makes the command line sees, and the other way round', async () => {
    sixway('user', 'add', 'before', '--json');
    // As root of nothing: files are this user's, and no rule is waived.
    const bare = ['--bounding-set=-all', '--inh-caps=-all', '--no-new-privs'];
    portal = spawn('setpriv', [...bare, SIXWAY, 'web', '--config', config], { stdio: 'pipe' });
    await answering(url, portal);

    const browser = new Browser({ url });
    await browser.get('/sign-up');
    await browser.submit('/sign-up', {
      email: 'ada@example.net',
      userName: 'ada',
      password: PASSWORD,
    });
    const link = await arriving(mails, url);
    await browser.get(link);
    await browser.submit('/verify', { password: PASSWORD });
    assert.equal(browser.shown?.path, '/tunnels');
    assert.match(sixway('user', 'list'), /^ada +enabled/m);
    assert.match(sixway('person', 'list'), /^ada@example\.net +ada +user +active +off/m);

    sixway('person', 'disable', 'ada@example.net');
    assert.match((await browser.get('/tunnels')).path, /^\/sign-in/);
    assert.match(sixway('user', 'list'), /^ada +disabled/m);

    const invited = JSON.parse(sixway('person', 'invite', '--user', 'before', '--json'));
    const guest = new Browser({ url });
    const page = await guest.get(new URL(invited.link).pathname + new URL(invited.link).search);
    assert.match(page.text, /Your user name is <bdi>before<\/bdi>/);
    const front = await guest.get('/');
    assert.match(front.text, /It does not answer at the moment/);
  });

  it('says what is missing instead of starting without it', () => {
    writeFileSync(config, '[web]\nlisten = ""\n');
    assert.throws(
      () => execFileSync(SIXWAY, ['web', '--config', config], { stdio: 'pipe' }),
      /there is no portal: set web\.listen/,
    );
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function answering(url: string, process: ChildProcess): Promise<void> {
  let said = '';
  process.stderr?.on('data', (part: Buffer) => {
    said += part.toString();
  });
  process.stdout?.resume();
  for (let i = 0; i < 200; i++) {
    assert.equal(process.exitCode, null, said);
    const response = await fetch(`${url}/healthz`).catch(() => undefined);
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(`the portal does not answer: ${said}`);
}

/** The path of the link in the first mail. */
async function arriving(mails: readonly string[], url: string): Promise<string> {
  for (let i = 0; i < 200; i++) {
    // Quoted-printable breaks lines and writes "=" as =3D.
    const text = (mails[0] ?? '').replace(/=\r?\n/g, '').replaceAll('=3D', '=');
    const path = text.split(url)[1]?.split(/[\s<"]/)[0];
    if (path !== undefined) return path;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail('no mail has come');
}
