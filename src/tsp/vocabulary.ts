// The XML vocabulary of TSP (RFC 5572 §4.7 and appendix A): requests, tunnels and broker lists, read
// and written. The reader takes what clients and servers really send, the appendix's own
// contradictions included. The writer emits the one form that every known client reads: no blanks,
// no empty elements, addresses and prefixes with all their digits. Decides nothing.

import {
  formatIpv4,
  formatIpv6Expanded,
  type Ipv4Address,
  type Ipv6Address,
  type Ipv6Prefix,
  parseIpv4,
  parseIpv6,
} from '../address.ts';
import type { BrokerAddress, CreateRequest, Request, TunnelInfo, TunnelType } from './messages.ts';
import { childNamed, childrenNamed, type Element, readXml } from './xml.ts';

/** A client's request. Undefined: answer 500. */
export function readRequest(body: Uint8Array): Request | undefined {
  const tunnel = readXml(body);
  if (tunnel?.name !== 'tunnel') return undefined;
  const action = tunnel.attributes.action?.toLowerCase();
  switch (action) {
    case 'create':
      return readCreate(tunnel);
    case 'info':
    case 'delete':
    case 'accept':
    case 'reject':
      return { action };
    default:
      return undefined;
  }
}

/** The server's answer to create or info. Undefined when anything a client needs is missing. */
export function readTunnelInfo(body: Uint8Array): TunnelInfo | undefined {
  const tunnel = readXml(body);
  const tunnelType = tunnel?.attributes.type?.toLowerCase();
  if (tunnel?.name !== 'tunnel' || (tunnelType !== 'v6v4' && tunnelType !== 'v6udpv4')) {
    return undefined;
  }
  const server = childNamed(tunnel, 'server');
  const client = childNamed(tunnel, 'client');
  const serverIpv4 = addressOf(server, 'ipv4', parseIpv4);
  const serverIpv6 = addressOf(server, 'ipv6', parseIpv6);
  const clientIpv4 = addressOf(client, 'ipv4', parseIpv4);
  const clientIpv6 = addressOf(client, 'ipv6', parseIpv6);
  if (
    serverIpv4 === undefined ||
    serverIpv6 === undefined ||
    clientIpv4 === undefined ||
    clientIpv6 === undefined
  ) {
    return undefined;
  }
  const prefixElement = childNamed(childNamed(client, 'router'), 'prefix');
  const prefix = prefixElement && readPrefix(prefixElement);
  if (prefixElement && !prefix) return undefined;
  const domainName = textsOf(client, 'dn')[0];
  const keepaliveElement = childNamed(client, 'keepalive');
  const intervalSeconds = readCount(keepaliveElement?.attributes.interval);
  const keepaliveAddress = addressOf(keepaliveElement, 'ipv6', parseIpv6);
  const resolver = addressOf(childNamed(client, 'dns_server'), 'ipv6', parseIpv6);
  return {
    tunnelType,
    lifetime: readCount(tunnel.attributes.lifetime) ?? 0,
    serverIpv4,
    serverIpv6,
    clientIpv4,
    clientIpv6,
    ...(domainName ? { domainName } : {}),
    ...(prefix ? { prefix } : {}),
    // Pinging `::` would be pinging oneself.
    ...(intervalSeconds && keepaliveAddress !== undefined && keepaliveAddress !== 0n
      ? { keepalive: { intervalSeconds, address: keepaliveAddress } }
      : {}),
    ...(resolver === undefined ? {} : { resolver }),
  };
}

/**
 * The brokers of a redirect, in the order written; both shapes are read, several addresses in one
 * `<broker>` and one in each. At most 50, as clients take no more.
 */
export function readBrokers(body: Uint8Array): readonly BrokerAddress[] {
  const brokers: BrokerAddress[] = [];
  for (const broker of childrenNamed(readXml(body), 'broker')) {
    for (const { attributes, text } of childrenNamed(broker, 'address')) {
      const { type } = attributes;
      if ((type === 'ipv4' || type === 'ipv6' || type === 'dn') && text !== '') {
        brokers.push({ type, text });
      }
    }
  }
  return brokers.slice(0, 50);
}

export interface CreateWish {
  readonly tunnelType: TunnelType;
  readonly clientIpv4: Ipv4Address;
  readonly keepaliveSeconds: number;
  readonly prefixLength?: number;
}

export function writeCreate(wish: CreateWish): string {
  return lines(
    `<tunnel action="create" type="${wish.tunnelType}" proxy="no">`,
    '<client>',
    address('ipv4', formatIpv4(wish.clientIpv4)),
    ...(wish.prefixLength === undefined
      ? []
      : ['<router>', `<prefix length="${wish.prefixLength}"/>`, '</router>']),
    `<keepalive interval="${wish.keepaliveSeconds}">`,
    address('ipv6', '::'),
    '</keepalive>',
    '</client>',
    '</tunnel>',
  );
}

/** `<tunnel action="…"></tunnel>` CR LF, as gogoc writes its accept. */
export function writeAction(action: 'accept' | 'reject' | 'info' | 'delete'): string {
  return lines(`<tunnel action="${action}"></tunnel>`);
}

/** The tunnel's description, without status line; keepalive last in client (RFC 5572 §4.7.2). */
export function writeTunnelInfo(info: TunnelInfo): string {
  const { domainName, prefix, keepalive, resolver } = info;
  return lines(
    `<tunnel action="info" type="${info.tunnelType}" lifetime="${info.lifetime}">`,
    '<server>',
    address('ipv4', formatIpv4(info.serverIpv4)),
    address('ipv6', formatIpv6Expanded(info.serverIpv6)),
    '</server>',
    '<client>',
    address('ipv4', formatIpv4(info.clientIpv4)),
    address('ipv6', formatIpv6Expanded(info.clientIpv6)),
    ...(domainName !== undefined && isPlainText(domainName) ? [address('dn', domainName)] : []),
    ...(resolver === undefined
      ? []
      : ['<dns_server>', address('ipv6', formatIpv6Expanded(resolver)), '</dns_server>']),
    ...(prefix ? ['<router>', delegation(prefix), '</router>'] : []),
    ...(keepalive
      ? [
          `<keepalive interval="${keepalive.intervalSeconds}">`,
          address('ipv6', formatIpv6Expanded(keepalive.address)),
          '</keepalive>',
        ]
      : []),
    '</client>',
    '</tunnel>',
  );
}

/** As many of `brokers` as fit into `maxOctets`. */
export function writeBrokers(brokers: readonly BrokerAddress[], maxOctets: number): string {
  const compose = (some: readonly BrokerAddress[]) =>
    lines(
      '<tunnel action="list" type="broker">',
      '<broker>',
      ...some.map(({ type, text }) => address(type, text)),
      '</broker>',
      '</tunnel>',
    );
  const usable = brokers.filter(({ text }) => isPlainText(text)).slice(0, 50);
  while (usable.length > 0 && compose(usable).length > maxOctets) usable.pop();
  return compose(usable);
}

function readCreate(tunnel: Element): CreateRequest | undefined {
  const client = childNamed(tunnel, 'client');
  const router = childNamed(client, 'router');
  const prefix = childNamed(router, 'prefix');
  const keepalive = childNamed(client, 'keepalive');
  const tunnelType = tunnel.attributes.type?.toLowerCase();
  const prefixLength = readCount(prefix?.attributes.length);
  const keepaliveSeconds = readCount(keepalive?.attributes.interval);
  if (tunnelType === undefined) return undefined;
  if (prefix && prefixLength === undefined) return undefined;
  if (keepalive && keepaliveSeconds === undefined) return undefined;
  return {
    action: 'create',
    tunnelType,
    addresses: childrenNamed(client, 'address').map(({ attributes, text }) => ({
      type: attributes.type ?? '',
      text,
    })),
    proxy: tunnel.attributes.proxy?.toLowerCase() === 'yes',
    ...(keepaliveSeconds === undefined ? {} : { keepaliveSeconds }),
    ...(prefixLength === undefined ? {} : { prefixLength }),
    nameServers: childrenNamed(childNamed(router, 'dns_server'), 'address')
      .map(({ text }) => text)
      .filter((text) => text !== ''),
  };
}

function textsOf(parent: Element | undefined, type: string): readonly string[] {
  return childrenNamed(parent, 'address')
    .filter(({ attributes }) => attributes.type === type)
    .map(({ text }) => text);
}

function addressOf<T extends Ipv4Address | Ipv6Address>(
  parent: Element | undefined,
  type: string,
  parse: (text: string) => T | undefined,
): T | undefined {
  const text = textsOf(parent, type)[0];
  return text === undefined ? undefined : parse(text);
}

/** Takes a prefix that is cut short or has bits beyond its length; servers send both. */
function readPrefix(element: Element): Ipv6Prefix | undefined {
  const length = readCount(element.attributes.length);
  const text = element.text.split('/')[0] ?? '';
  const full = parseIpv6(text) ?? parseIpv6(`${text.replace(/:$/, '')}::`);
  if (full === undefined || length === undefined || length > 128) return undefined;
  const hostBits = BigInt(128 - length);
  return { address: (full >> hostBits) << hostBits, length };
}

function readCount(text: string | undefined): number | undefined {
  return text !== undefined && /^\s*[0-9]{1,9}\s*$/.test(text) ? Number(text) : undefined;
}

function delegation({ address: first, length }: Ipv6Prefix): string {
  return `<prefix length="${length}">${formatIpv6Expanded(first)}</prefix>`;
}

function address(type: string, text: string): string {
  return `<address type="${type}">${text}</address>`;
}

/** gogoc knows no entities, so text that would need one cannot be said. */
function isPlainText(text: string): boolean {
  return /^[A-Za-z0-9._:[\]-]{1,255}$/.test(text);
}

function lines(...all: readonly string[]): string {
  return all.map((line) => `${line}\r\n`).join('');
}
