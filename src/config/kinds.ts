// The kinds of values that settings have: what each expects, in words, and how it is read out of TOML
// or the text of an environment variable.

import { parseIp, parseIpv4, parseIpv4Prefix, parseIpv6, parseIpv6Prefix } from '../address.ts';

export interface Kind<T> {
  readonly expects: string;
  /** Takes a TOML value or the text of an environment variable. */
  readonly read: (value: unknown) => T | undefined;
}

export interface Setting<T> {
  readonly kind: Kind<T>;
  readonly default: T;
  readonly help: string;
}

export const text: Kind<string> = {
  expects: 'a text',
  read: (value) => (typeof value === 'string' ? value : undefined),
};

export const path: Kind<string> = {
  expects: 'an absolute path',
  read: (value) => (typeof value === 'string' && value.startsWith('/') ? value : undefined),
};

export const flag: Kind<boolean> = {
  expects: 'true or false',
  read: (value) => {
    if (value === true || value === 'true') return true;
    if (value === false || value === 'false') return false;
    return undefined;
  },
};

export const ipv4OrAuto: Kind<string> = {
  expects: 'an IPv4 address or "auto"',
  read: (value) =>
    typeof value === 'string' && (value === 'auto' || parseIpv4(value) !== undefined)
      ? value
      : undefined,
};

export const ipv6OrAutoOrNone: Kind<string> = {
  expects: 'an IPv6 address, "auto", or "" for none',
  read: (value) =>
    typeof value === 'string' &&
    (value === 'auto' || value === '' || parseIpv6(value) !== undefined)
      ? value
      : undefined,
};

/** Another broker, as clients read it: address or name, perhaps with a port. */
export const brokers: Kind<readonly string[]> = {
  expects:
    'a list of at most 50 brokers such as "203.0.113.9", "[2001:db8::9]:3653" or "tb2.example.net"',
  read: (value) => {
    const parts: unknown = value === '' ? [] : typeof value === 'string' ? value.split(',') : value;
    if (!Array.isArray(parts) || parts.length > 50) return undefined;
    const texts = parts.map((part: unknown) => (typeof part === 'string' ? part.trim() : ''));
    return texts.every(isBroker) ? texts : undefined;
  },
};

function isBroker(text: string): boolean {
  if (parseIpv6(text) !== undefined) return true;
  const [, bracketed, plain = ''] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253}))(?::[0-9]{1,5})?$/.exec(text) ?? [];
  if (bracketed !== undefined) return parseIpv6(bracketed) !== undefined;
  return plain !== '' && (/[A-Za-z]/.test(plain) || parseIpv4(plain) !== undefined);
}

export const ipv6: Kind<string> = {
  expects: 'an IPv6 address',
  read: (value) =>
    typeof value === 'string' && parseIpv6(value) !== undefined ? value : undefined,
};

export const listener: Kind<string> = {
  expects: 'an address and port such as "127.0.0.1:9653", or "" for none',
  read: (value) =>
    typeof value === 'string' && /^$|^(\[[0-9a-fA-F:]+\]|[0-9.]+):[0-9]{1,5}$/.test(value)
      ? value
      : undefined,
};

/** TCP ports, fewer than the kernel programs have room for. */
export const ports: Kind<readonly number[]> = {
  expects: 'a list of at most four ports such as [25, 445], or [] for none',
  read: (value) => {
    const parts: unknown = value === '' ? [] : typeof value === 'string' ? value.split(',') : value;
    if (!Array.isArray(parts) || parts.length > 4) return undefined;
    const numbers = parts.map((part: unknown) =>
      port.read(typeof part === 'string' ? part.trim() : part),
    );
    return numbers.every((number) => number !== undefined) ? numbers : undefined;
  },
};

/** An address with a scheme, as people type it into a browser; without a path. */
export const origin: Kind<string> = {
  expects: 'an address such as "https://tunnels.example.net", or "" for none',
  read: (value) => {
    if (value === '') return '';
    const url = typeof value === 'string' ? URL.parse(value) : null;
    if (!url || !/^https?:$/.test(url.protocol)) return undefined;
    return url.pathname === '/' && url.search === '' && url.hash === '' ? url.origin : undefined;
  },
};

export const pathOrNone: Kind<string> = {
  expects: 'an absolute path, or "" for none',
  read: (value) => (value === '' ? '' : path.read(value)),
};

/** 107 octets fit into the address of a socket. */
export const socketPathOrNone: Kind<string> = {
  expects: 'an absolute path of at most 107 octets, or "" for none',
  read: (value) =>
    typeof value === 'string' && Buffer.byteLength(value) <= 107
      ? pathOrNone.read(value)
      : undefined,
};

/** Addresses and prefixes of machines. */
export const networks: Kind<readonly string[]> = {
  expects: 'a list of at most 50 addresses or prefixes such as ["127.0.0.1", "2001:db8::/32"]',
  read: (value) => {
    const texts = listOfTexts(value);
    const isNetwork = (text: string) =>
      parseIp(text) !== undefined ||
      parseIpv4Prefix(text) !== undefined ||
      parseIpv6Prefix(text) !== undefined;
    return texts?.every(isNetwork) ? texts : undefined;
  },
};

export const domains: Kind<readonly string[]> = {
  expects: 'a list of at most 50 domains such as ["example.net"]',
  read: (value) => {
    const texts = listOfTexts(value)?.map((text) => text.toLowerCase());
    return texts?.every((text) => /^(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*$/.test(text))
      ? texts
      : undefined;
  },
};

function listOfTexts(value: unknown): readonly string[] | undefined {
  const parts: unknown = value === '' ? [] : typeof value === 'string' ? value.split(',') : value;
  if (!Array.isArray(parts) || parts.length > 50) return undefined;
  const texts = parts.map((part: unknown) => (typeof part === 'string' ? part.trim() : ''));
  return texts.includes('') ? undefined : texts;
}

export function whole(min: number, max: number): Kind<number> {
  return {
    expects: `a whole number from ${min} to ${max}`,
    read: (value) => {
      const number =
        typeof value === 'string' && /^[0-9]{1,15}$/.test(value) ? Number(value) : value;
      return typeof number === 'number' &&
        Number.isInteger(number) &&
        number >= min &&
        number <= max
        ? number
        : undefined;
    },
  };
}

export const port = whole(1, 65535);

export function oneOf<const T extends string>(...choices: readonly T[]): Kind<T> {
  return {
    expects: `one of ${choices.join(', ')}`,
    read: (value) => choices.find((choice) => choice === value),
  };
}

export function listOf<const T extends string>(...choices: readonly T[]): Kind<readonly T[]> {
  return {
    expects: `a list out of ${choices.join(', ')}`,
    read: (value) => {
      const parts: unknown = typeof value === 'string' ? value.split(',') : value;
      if (!Array.isArray(parts) || parts.length === 0) return undefined;
      const known = parts.map((part: unknown) =>
        choices.find((choice) => typeof part === 'string' && choice === part.trim().toUpperCase()),
      );
      return known.every((part) => part !== undefined) ? known : undefined;
    },
  };
}

export function setting<T>(kind: Kind<T>, byDefault: T, help: string): Setting<T> {
  return { kind, default: byDefault, help };
}
