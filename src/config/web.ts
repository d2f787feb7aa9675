// The settings of the portal and of its mail: `sixway web` reads them, `sixway serve` does not.

import {
  domains,
  listener,
  networks,
  oneOf,
  origin,
  pathOrNone,
  port,
  setting,
  text,
  whole,
} from './kinds.ts';

export const WEB_SETTINGS = {
  listen: setting(
    listener,
    '',
    'Where `sixway web` listens for browsers, e.g. "127.0.0.1:8080" behind a proxy or "[::]:443"; ' +
      '"" for no portal.',
  ),
  url: setting(
    origin,
    '',
    'How people reach the portal, e.g. "https://tunnels.example.net": links in mails begin with it. ' +
      '"" takes http:// and the address it listens on, for trying it out.',
  ),
  certificateFile: setting(
    pathOrNone,
    '',
    'TLS certificate with its chain (PEM), read anew when it changes. "" behind a proxy that has it.',
  ),
  certificateKeyFile: setting(pathOrNone, '', 'Key of the certificate (PEM).'),
  trustProxy: setting(
    networks,
    [] as readonly string[],
    'Proxies in front, whose X-Forwarded-For is believed. Who is not listed cannot pretend.',
  ),
  signUp: setting(
    oneOf('closed', 'open', 'domains', 'invitation', 'approval'),
    'closed',
    'Who may sign up: nobody, everybody, addresses of the listed domains, who was invited, or ' +
      'everybody whom an administrator then approves. Invitations work with all of them.',
  ),
  domains: setting(
    domains,
    [] as readonly string[],
    'The domains of e-mail addresses for signUp = "domains".',
  ),
  sessionIdleHours: setting(
    whole(1, 8760),
    72,
    'After how long without use somebody has to sign in again.',
  ),
  sessionDays: setting(whole(1, 3650), 30, 'After how long somebody has to sign in in any case.'),
  serviceName: setting(
    text,
    '',
    'The service’s name on pages, in mails and authenticator apps. "" takes the realm.',
  ),
  contact: setting(
    text,
    '',
    'Where people turn for help, shown on every page: an e-mail address or a web address.',
  ),
  language: setting(oneOf('en', 'ar'), 'en', 'Language for who has none of ours.'),
} as const;

export const MAIL_SETTINGS = {
  host: setting(
    text,
    '',
    'Mail server that takes the portal’s mails (SMTP). "" keeps them in the store until there is one.',
  ),
  port: setting(port, 587, 'Its port: 587 with starttls, 465 with tls, 25 on the same machine.'),
  tls: setting(
    oneOf('starttls', 'tls', 'none'),
    'starttls',
    'starttls and tls refuse a server without a valid certificate; none is for the same machine.',
  ),
  user: setting(text, '', 'Name to log in to it with; "" for none.'),
  passwordFile: setting(pathOrNone, '', 'File with the password to it, in its first line.'),
  from: setting(
    text,
    '',
    'Sender of mails, e.g. "Example Tunnels <tunnels@example.net>". "" takes no-reply at the name ' +
      'in web.url.',
  ),
} as const;
