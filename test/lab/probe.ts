// What tests ask of hosts: pings with their loss, transfers with their sums, datagrams.

import { join } from 'node:path';
import type { Host, Service } from './lab.ts';

export const NODE = join(import.meta.dirname, '../../node_modules/.bin/node');

/** The share of answered pings, 0 … 1. */
export async function ping(
  host: Host,
  target: string,
  options: { count?: number; intervalSeconds?: number; extra?: readonly string[] } = {},
): Promise<number> {
  const { count = 3, intervalSeconds = 0.1, extra = [] } = options;
  const words = ['-n', '-q', '-W', '1', '-c', String(count), '-i', String(intervalSeconds)];
  // A busy machine sends them more slowly than asked.
  const timeoutMs = 20_000 + 3000 * count * intervalSeconds;
  const outcome = await host.try('ping', [...words, ...extra, target], timeoutMs);
  const received = /(\d+) received/.exec(outcome.stdout)?.[1];
  // No route is an answer; a ping that was cut off is none.
  if (received === undefined && outcome.code === 124) throw new Error(`ping: ${outcome.stderr}`);
  return Number(received ?? 0) / count;
}

export async function startWebServer(host: Host, port = 80): Promise<Service> {
  const service = host.start(NODE, [join(import.meta.dirname, 'web-server.ts'), String(port)]);
  await service.says(/listening/);
  return service;
}

/** `<count> <sha256>` of what came down. */
export async function download(host: Host, url: string, bytes: number): Promise<string> {
  const script = `curl -6 -sS -m 60 "${url}/bytes/${bytes}" | tee >(wc -c >&2) | sha256sum`;
  const { stdout, stderr } = await host.try('bash', ['-c', script], 70_000);
  return `${stderr.trim()} ${stdout.split(' ')[0]}`;
}

/** `<count> <sha256>` of what the server says it received. */
export async function upload(host: Host, url: string, file: string): Promise<string> {
  return (
    await host.run('curl', ['-6', '-sS', '-m', '60', '-T', file, `${url}/bytes`], 70_000)
  ).trim();
}

/** Sends datagrams (hex) and returns the answers (hex). */
export async function sendDatagrams(
  host: Host,
  address: string,
  port: number,
  datagrams: readonly string[],
  sourcePort = 0,
): Promise<string[]> {
  const { stdout } = await host.try(
    NODE,
    [join(import.meta.dirname, 'send-datagrams.ts'), address, String(port), String(sourcePort)],
    20_000,
    datagrams.join('\n'),
  );
  return [...stdout.matchAll(/^answer ([0-9a-f]*)$/gm)].map((match) => match[1] ?? '');
}
