// The web server: limits, headers, errors, the log, and every page and API route. What it knows of the
// world is the portal that it is given.

import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { Server as TlsServer } from 'node:tls';
import cookie from '@fastify/cookie';
import formbody from '@fastify/formbody';
import { type FastifyError, type FastifyInstance, fastify, LogController } from 'fastify';
import { addApi, REQUESTS_A_MINUTE } from './api/api.ts';
import { isApiPath, problem, problemOf } from './api/problems.ts';
import { addDyndns } from './dyndns.ts';
import { type Failure, failurePage, statusOf } from './failures.ts';
import { accountPages } from './pages/account.ts';
import { ADMIN_PAGES } from './pages/admin.ts';
import { frontPages } from './pages/front.ts';
import { resetPages } from './pages/reset.ts';
import { securityPages } from './pages/security.ts';
import { signInPages } from './pages/sign-in.ts';
import { signUpPages } from './pages/sign-up.ts';
import { tokenPages } from './pages/tokens.ts';
import { tunnelPages } from './pages/tunnel.ts';
import { tunnelSetupPages } from './pages/tunnel-setup.ts';
import { tunnelsPages } from './pages/tunnels.ts';
import type { Portal } from './portal.ts';
import { Routes } from './routes.ts';
import { Cookies } from './session.ts';
import { type StaffRoute, watchStaffRoutes } from './staff-routes.ts';
import { StaticFiles } from './static-files.ts';
import { type House, Visit } from './visit.ts';

export interface WebOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** PEM files; undefined: plain HTTP. */
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  /** Addresses and prefixes of proxies that are believed. */
  readonly trustProxy: readonly string[];
  /** Of one person to the API; 300 by default. */
  readonly requestsAMinute?: number;
  /** How often the certificate's file is looked at. */
  readonly lookEveryMs?: number;
}

export interface RunningWeb {
  readonly port: number;
  readonly staffRoutes: readonly StaffRoute[];
  /** Lets requests under way end. */
  close(): Promise<void>;
}

const MAX_BODY_OCTETS = 64 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;
const HSTS_SECONDS = 31_536_000;
/** Also long enough for a key and a certificate to be written one after the other. */
const LOOK_EVERY_MS = 30_000;

const PAGES: readonly ((routes: Routes) => void)[] = [
  frontPages,
  signUpPages,
  signInPages,
  resetPages,
  accountPages,
  securityPages,
  tokenPages,
  ...ADMIN_PAGES,
  tunnelsPages,
  tunnelPages,
  tunnelSetupPages,
];

/** Rejects with the system's error when the address cannot be listened on. */
export async function startWeb(portal: Portal, options: WebOptions): Promise<RunningWeb> {
  const { host, port, tls, trustProxy } = options;
  const secure = portal.service.url.startsWith('https:');
  const app = fastify({
    bodyLimit: MAX_BODY_OCTETS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // Ours has no queries in it.
    logController: new LogController({ disableRequestLogging: true }),
    loggerInstance: portal.log,
    trustProxy: trustProxy.length === 0 ? false : [...trustProxy],
    ...(tls && { https: readTls(tls) }),
  } as Parameters<typeof fastify>[0]) as unknown as FastifyInstance;
  await app.register(cookie);
  await app.register(formbody, { bodyLimit: MAX_BODY_OCTETS });

  const staffRoutes = watchStaffRoutes(app);
  const house: House = { portal, cookies: new Cookies(secure), files: new StaticFiles() };
  addHeaders(app, secure);
  addLog(app, portal);
  addErrors(app, house);
  house.files.serve(app);
  app.get('/healthz', async (_request, reply) => reply.type('text/plain').send('ok\n'));
  addDyndns(app, portal);
  const routes = new Routes(app, house);
  for (const add of PAGES) add(routes);
  await app.register(
    async (api) => addApi(api, house, options.requestsAMinute ?? REQUESTS_A_MINUTE),
    { prefix: '/api/v1' },
  );

  await app.listen({ host, port });
  const stopWatching = tls && watchTls(app, tls, portal, options.lookEveryMs ?? LOOK_EVERY_MS);
  const address = app.server.address();
  return {
    port: typeof address === 'object' ? (address?.port ?? port) : port,
    staffRoutes,
    close: async () => {
      stopWatching?.();
      await app.close();
    },
  };
}

/** Everything a page needs comes from here; nothing of it may be framed or guessed at. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "style-src 'self'",
  "img-src 'self' data:",
  "script-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join('; ');

function addHeaders(app: FastifyInstance, secure: boolean): void {
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers({
      'content-security-policy': CONTENT_SECURITY_POLICY,
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=()',
      // A link's token is in the address of the page that it leads to.
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'cache-control': 'no-store',
      ...(secure && { 'strict-transport-security': `max-age=${HSTS_SECONDS}` }),
    });
  });
}

function addLog(app: FastifyInstance, { log }: Portal): void {
  app.addHook('onResponse', async (request, reply) => {
    // Without the query: the tokens of links in mails are there.
    const [path] = request.url.split('?');
    const { method, ip: address } = request;
    const ms = Math.round(reply.elapsedTime);
    log.info({ method, path, status: reply.statusCode, ms, address }, 'request');
  });
}

function addErrors(app: FastifyInstance, house: House): void {
  const { log } = house.portal;
  app.setNotFoundHandler((request, reply) =>
    isApiPath(request.url)
      ? problem(reply, 404, 'not-found')
      : failurePage(new Visit(house, request, reply, undefined), 'notFound'),
  );
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const failure = failureOf(error);
    if (failure === 'broken' || error.name === 'StoreError')
      log.error({ err: error }, 'a request failed');
    if (isApiPath(request.url)) return problemOf(reply, error, statusOf(failure));
    return failurePage(new Visit(house, request, reply, undefined), failure);
  });
}

function failureOf({ name, statusCode, code }: FastifyError): Failure {
  if (name === 'PasswordsBusy' || name === 'StoreError') return 'busy';
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return 'tooLarge';
  return statusCode !== undefined && statusCode < 500 ? 'notFound' : 'broken';
}

type TlsFiles = NonNullable<WebOptions['tls']>;

function readTls({ certificateFile, keyFile }: TlsFiles) {
  return {
    cert: readFileSync(certificateFile),
    key: readFileSync(keyFile),
    minVersion: 'TLSv1.2',
  } as const;
}

/**
 * Certificates are renewed every few weeks, and nobody should have to restart anything. Looks at the
 * file's time, since it may be a link that comes to lead elsewhere. Answers how to stop that.
 */
function watchTls(
  app: FastifyInstance,
  tls: TlsFiles,
  { log }: Portal,
  everyMs: number,
): () => void {
  const server = app.server as unknown as Pick<TlsServer, 'setSecureContext'>;
  const { certificateFile } = tls;
  const changed = () => {
    try {
      server.setSecureContext(readTls(tls));
      log.info('the certificate was read anew');
    } catch (error) {
      log.error({ err: error }, 'the new certificate cannot be used');
    }
  };
  watchFile(certificateFile, { interval: everyMs, persistent: false }, changed);
  return () => unwatchFile(certificateFile, changed);
}
