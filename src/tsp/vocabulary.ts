// The XML vocabulary of TSP (RFC 5572 §4.7 and appendix A): requests, tunnels and broker lists, read
// and written. The reader takes what clients and servers really send, the appendix's own
// contradictions included. The writer emits the one form that every known client reads: no blanks,
// no empty elements, addresses and prefixes with all their digits. Decides nothing.

import {
  formatIp,
  formatIpv4,
  formatIpv6Expanded,
  type IpAddress,
  type Ipv4Address,
  type Ipv6Prefix,
  parseIp,
  parseIpv4,
  parseIpv6,
} from '../address.ts';
import { MAX_ANSWER_OCTETS } from './framing.ts';
import type {
  BrokerAddress,
  CreateRequest,
  Keepalive,
  Request,
  TunnelInfo,
  TunnelType,
} from './messages.ts';
import { octetText } from './sasl.ts';
import { childNamed, childrenNamed, type Element, readXml } from './xml.ts';

/** Requests without content, by their text: each kind of client always writes the same few. */
const actions = new Map<string, Request>();
const ACTIONS_KEPT = 64;
const MAX_ACTION_OCTETS = 64;

/** A client's request. Undefined: answer 500. */
export function readRequest(body: Uint8Array): Request | undefined {
  if (body.length > MAX_ACTION_OCTETS) return parseRequest(body);
  const text = octetText(body);
  const known = actions.get(text);
  if (known) return known;
  const request = parseRequest(body);
  if (request && request.action !== 'create' && actions.size < ACTIONS_KEPT)
    actions.set(text, request);
  return request;
}

function parseRequest(body: Uint8Array): Request | undefined {
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
  if (tunnel?.name !== 'tunnel') return undefined;
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
  const domainName = textsOf(client, 'dn')[0];
  const resolver = addressOf(childNamed(client, 'dns_server'), 'ipv6', parseIpv6);
  const common = {
    lifetime: readCount(tunnel.attributes.lifetime) ?? 0,
    serverIpv4,
    serverIpv6,
    clientIpv4,
    clientIpv6,
    ...(domainName ? { domainName } : {}),
    ...(resolver === undefined ? {} : { resolver }),
  };
  const tunnelType = tunnel.attributes.type?.toLowerCase();
  switch (tunnelType) {
    case 'v6v4':
    case 'v6udpv4': {
      const router = childNamed(client, 'router');
      const prefixElement = childNamed(router, 'prefix');
      const prefix = prefixElement && readPrefix(prefixElement);
      if (prefixElement && !prefix) return undefined;
      const nameServers = nameServersOf(router);
      return {
        tunnelType,
        ...common,
        ...(prefix ? { prefix } : {}),
        ...(nameServers.length > 0 ? { nameServers } : {}),
        ...readKeepalive(client, 'ipv6', parseIpv6),
      };
    }
    case 'v4v6':
      return {
        tunnelType,
        ...common,
        linkLength: readLinkLength(client) ?? readLinkLength(server) ?? 30,
        ...readKeepalive(client, 'ipv4', parseIpv4),
      };
    default:
      return undefined;
  }
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
  /** The outer one: IPv6 for v4v6, else IPv4. */
  readonly clientAddress: IpAddress;
  readonly keepaliveSeconds: number;
  readonly prefixLength?: number;
}

export function writeCreate(wish: CreateWish): string {
  const { tunnelType, clientAddress, prefixLength } = wish;
  const overIpv4 = typeof clientAddress === 'number';
  return lines(
    `<tunnel action="create" type="${tunnelType}" proxy="no">`,
    '<client>',
    address(overIpv4 ? 'ipv4' : 'ipv6', formatIp(clientAddress)),
    ...(prefixLength === undefined
      ? []
      : ['<router>', `<prefix length="${prefixLength}"/>`, '</router>']),
    `<keepalive interval="${wish.keepaliveSeconds}">`,
    overIpv4 ? address('ipv6', '::') : address('ipv4', '127.0.0.1'),
    '</keepalive>',
    '</client>',
    '</tunnel>',
  );
}

/** `<tunnel action="…"></tunnel>` CR LF, as gogoc writes its accept. */
export function writeAction(action: 'accept' | 'reject' | 'info' | 'delete'): string {
  return lines(`<tunnel action="${action}"></tunnel>`);
}

/**
 * The tunnel's description, without status line; keepalive last in client (RFC 5572 §4.7.2). As many
 * name servers as fit into `maxOctets`; all else always fits 1100.
 */
export function writeTunnelInfo(info: TunnelInfo, maxOctets = MAX_ANSWER_OCTETS): string {
  const nameServers = info.tunnelType === 'v4v6' ? [] : [...(info.nameServers ?? [])];
  for (;;) {
    const text = describe(info, nameServers);
    if (text.length <= maxOctets || nameServers.length === 0) return text;
    nameServers.pop();
  }
}

function describe(info: TunnelInfo, nameServers: readonly string[]): string {
  const { domainName, resolver, keepalive } = info;
  const length = info.tunnelType === 'v4v6' ? ` length="${info.linkLength}"` : '';
  const ipv4 = (value: Ipv4Address) =>
    `<address type="ipv4"${length}>${formatIpv4(value)}</address>`;
  return lines(
    `<tunnel action="info" type="${info.tunnelType}" lifetime="${info.lifetime}">`,
    '<server>',
    ipv4(info.serverIpv4),
    address('ipv6', formatIpv6Expanded(info.serverIpv6)),
    '</server>',
    '<client>',
    ipv4(info.clientIpv4),
    address('ipv6', formatIpv6Expanded(info.clientIpv6)),
    ...(domainName !== undefined && isPlainText(domainName) ? [address('dn', domainName)] : []),
    ...(resolver === undefined
      ? []
      : ['<dns_server>', address('ipv6', formatIpv6Expanded(resolver)), '</dns_server>']),
    ...(info.tunnelType === 'v4v6' ? [] : routerLines(info.prefix, nameServers)),
    ...(keepalive
      ? [
          `<keepalive interval="${keepalive.intervalSeconds}">`,
          typeof keepalive.address === 'number'
            ? address('ipv4', formatIpv4(keepalive.address))
            : address('ipv6', formatIpv6Expanded(keepalive.address)),
          '</keepalive>',
        ]
      : []),
    '</client>',
    '</tunnel>',
  );
}

/** Nothing without a prefix: the name servers are those of its reverse zone. */
function routerLines(prefix: Ipv6Prefix | undefined, nameServers: readonly string[]): string[] {
  if (!prefix) return [];
  const known = nameServers.filter(isPlainText);
  const list = known.map((text) => address(nameServerType(text), text));
  return [
    '<router>',
    delegation(prefix),
    ...(list.length > 0 ? ['<dns_server>', ...list, '</dns_server>'] : []),
    '</router>',
  ];
}

function nameServerType(text: string): 'ipv4' | 'ipv6' | 'dn' {
  const address = parseIp(text);
  if (address === undefined) return 'dn';
  return typeof address === 'number' ? 'ipv4' : 'ipv6';
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
    nameServers: nameServersOf(router),
  };
}

function nameServersOf(router: Element | undefined): readonly string[] {
  return childrenNamed(childNamed(router, 'dns_server'), 'address')
    .map(({ text }) => text)
    .filter((text) => text !== '');
}

/** Undefined address or `::`: pinging `::` would be pinging oneself. */
function readKeepalive<A extends IpAddress>(
  client: Element | undefined,
  type: string,
  parse: (text: string) => A | undefined,
): { keepalive?: Keepalive<A> } {
  const element = childNamed(client, 'keepalive');
  const intervalSeconds = readCount(element?.attributes.interval);
  const target = addressOf(element, type, parse);
  if (!intervalSeconds || !target) return {};
  return { keepalive: { intervalSeconds, address: target } };
}

/** `length` of the inner IPv4 address. */
function readLinkLength(parent: Element | undefined): number | undefined {
  const inner = childrenNamed(parent, 'address').find(
    ({ attributes }) => attributes.type === 'ipv4',
  );
  const length = readCount(inner?.attributes.length);
  return length !== undefined && length >= 1 && length <= 32 ? length : undefined;
}

function textsOf(parent: Element | undefined, type: string): readonly string[] {
  return childrenNamed(parent, 'address')
    .filter(({ attributes }) => attributes.type === type)
    .map(({ text }) => text);
}

function addressOf<T extends IpAddress>(
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
