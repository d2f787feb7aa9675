// `sixway web`: the portal, in a process of its own. It opens the store and nothing of the kernel, so
// it can run as a user without privileges; what it changes the broker learns from the change feed.

import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Command } from 'commander';
import { pino } from 'pino';
import { formatIp, parseIpv4 } from '../address.ts';
import { Desk } from '../broker/desk.ts';
import { Visitors } from '../broker/visitors.ts';
import type { Config } from '../config.ts';
import { defaultUplink, ipv4AddressesOf } from '../host.ts';
import { LiveClient } from '../live/client.ts';
import { openPeople, openStore, openTunnelDesk, realmOf, Unusable } from '../parts.ts';
import { composeLetters } from '../web/letters.ts';
import { startWeb } from '../web/server.ts';
import { smtpTransport } from '../web/smtp.ts';
import { addConfigOption, configOf } from './config-option.ts';

const DAY_MS = 86_400_000;
const ASK_EVERY_MS = 5000;
const ANSWER_WITHIN_MS = 2000;

export interface RunningPortal {
  readonly url: string;
  stop(): Promise<void>;
}

export function addWebCommand(program: Command): void {
  addConfigOption(program.command('web'))
    .description('start the portal: sign-up, accounts, pages')
    .action(async (flags) => {
      const { config } = configOf(flags);
      const running = await servePortal(config, (line) => console.log(line));
      const stop = () => {
        running.stop().then(
          () => process.exit(0),
          (error: unknown) => {
            console.error(error);
            process.exit(1);
          },
        );
      };
      process.once('SIGTERM', stop);
      process.once('SIGINT', stop);
    });
}

export async function servePortal(
  config: Config,
  say: (line: string) => void,
): Promise<RunningPortal> {
  const parts = new AsyncDisposableStack();
  try {
    const url = await build(config, say, parts);
    return { url, stop: () => parts.disposeAsync() };
  } catch (error) {
    await parts.disposeAsync();
    throw error;
  }
}

async function build(
  config: Config,
  say: (line: string) => void,
  parts: AsyncDisposableStack,
): Promise<string> {
  const { listen, certificateFile, certificateKeyFile, trustProxy, contact, language } = config.web;
  if (listen === '')
    throw new Unusable('there is no portal: set web.listen, for example to "127.0.0.1:8080"');
  if ((certificateFile === '') !== (certificateKeyFile === ''))
    throw new Unusable('web.certificateFile and web.certificateKeyFile go together');
  const log = pino({ level: config.server.logLevel, base: null });
  const store = await openStore(config);
  parts.defer(() => store.close());

  const url = config.web.url === '' ? `http://${listen}` : config.web.url;
  const name =
    config.web.serviceName === '' ? await realmOf(config, store) : config.web.serviceName;
  const service = { name, contact, url, language };
  const people = await openPeople(config, store, composeLetters(service));
  const note = (message: string, error?: unknown) => log.warn({ err: error }, message);
  const tidying = people.tidyUp(note);
  parts.defer(() => tidying.stop());
  const live = new LiveClient({ socket: config.live.socket });
  parts.defer(() => live.close());
  const smtp = smtpOf(config, url);
  if (smtp) {
    const postman = people.sendMail(smtpTransport(smtp), note);
    parts.defer(() => postman.stop());
    say(`Mails go to ${smtp.host} port ${smtp.port}`);
  } else say('No mail server (mail.host): mails wait in the store');

  const { maxTunnels, maxDelegations, maxIpv4Tunnels } = config.dataplane;
  const desk = new Desk({
    store,
    people,
    capacity: { link: maxTunnels, delegation: maxDelegations, 'ipv4-link': maxIpv4Tunnels },
    pastKeptMs: config.history.attachmentsDays * DAY_MS,
  });
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(listen) ?? [];
  const web = await startWeb(
    {
      people,
      desk,
      tunnels: await openTunnelDesk(config, store, parseIpv4(addressOf(config) ?? '')),
      live,
      visitors: new Visitors(store),
      service,
      isUp: brokerAnswers(config),
      log,
    },
    {
      host,
      port: Number(port),
      tls: certificateFile === '' ? undefined : { certificateFile, keyFile: certificateKeyFile },
      trustProxy,
    },
  ).catch((error: NodeJS.ErrnoException) => {
    throw error.code === undefined
      ? error
      : new Unusable(`the portal cannot listen on ${listen}: ${error.code}; see web.listen`);
  });
  parts.defer(() => web.close());
  say(`The portal is at ${url}, listening on ${listen}`);
  sayWhatIsOdd(config, say);
  return url;
}

function smtpOf({ mail }: Config, url: string) {
  const { host, port, tls, user, passwordFile, from } = mail;
  if (host === '') return undefined;
  return {
    host,
    port,
    tls,
    login: user === '' ? undefined : { user, password: passwordIn(passwordFile) },
    from: from === '' ? `no-reply@${new URL(url).hostname}` : from,
  };
}

function passwordIn(file: string): string {
  if (file === '') throw new Unusable('mail.user needs mail.passwordFile');
  try {
    return readFileSync(file, 'utf8').split(/\r?\n/, 1)[0] ?? '';
  } catch (error) {
    throw new Unusable(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function sayWhatIsOdd({ web }: Config, say: (line: string) => void): void {
  if (!web.url.startsWith('https:'))
    say('Passwords are sent in clear text: for more than a trial, web.url has to be https');
  if (web.signUp === 'domains' && web.domains.length === 0)
    say('Nobody can sign up: web.signUp is "domains", and web.domains is empty');
}

/** Whether somebody takes connections where clients log in. */
function brokerAnswers(config: Config): () => Promise<boolean> {
  let askedAtMs = Number.NEGATIVE_INFINITY;
  let answer: Promise<boolean> = Promise.resolve(false);
  return () => {
    if (askedAtMs + ASK_EVERY_MS <= performance.now()) {
      askedAtMs = performance.now();
      const address = addressOf(config);
      answer = address === undefined ? Promise.resolve(false) : answers(address, config.tsp.port);
    }
    return answer;
  };
}

function addressOf({ server }: Config): string | undefined {
  if (server.address !== 'auto') return server.address;
  const uplink = server.uplink === 'auto' ? defaultUplink() : server.uplink;
  const [first] = (uplink === undefined ? undefined : ipv4AddressesOf(uplink)) ?? [];
  return first === undefined ? undefined : formatIp(first);
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: ANSWER_WITHIN_MS });
    const end = (up: boolean) => {
      socket.destroy();
      resolve(up);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
    socket.once('timeout', () => end(false));
  });
}
