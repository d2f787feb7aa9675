// Mails to a mail server (SMTP, RFC 5321; submission, RFC 6409).

import { createTransport } from 'nodemailer';
import type { Transport } from '../broker/people-mail.ts';

export interface SmtpOptions {
  readonly host: string;
  readonly port: number;
  /** `starttls` and `tls`: never without, and never with a certificate that is not valid. */
  readonly tls: 'starttls' | 'tls' | 'none';
  readonly login: { readonly user: string; readonly password: string } | undefined;
  readonly from: string;
}

const TIMEOUT_MS = 20_000;

export function smtpTransport(options: SmtpOptions): Transport {
  const { host, port, tls, login, from } = options;
  const transport = createTransport({
    host,
    port,
    secure: tls === 'tls',
    requireTLS: tls === 'starttls',
    ignoreTLS: tls === 'none',
    ...(login && { auth: { user: login.user, pass: login.password } }),
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
    // Nothing that a mail says may make this program read a file or fetch something.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return async (mail) => {
    await transport.sendMail({
      from,
      ...mail,
      // No holiday notices in return (RFC 3834).
      headers: { 'Auto-Submitted': 'auto-generated' },
    });
  };
}
