// The list of what the server has promised: one JSON line for each login that came to a tunnel, written
// in each turn of the loop, so that what is in it is true even when the generator is killed.

import { closeSync, openSync, writeSync } from 'node:fs';
import { formatIpv4, formatIpv6, formatIpv6Prefix } from '../address.ts';
import type { Login } from './clients.ts';

export class List {
  readonly #fd: number;
  #waiting = '';

  /** Throws the system's error when the file cannot be written. */
  constructor(file: string) {
    this.#fd = openSync(file, 'w');
  }

  add({ username, from, tunnel }: Login): void {
    const prefix = tunnel.tunnelType === 'v4v6' ? undefined : tunnel.prefix;
    const line = {
      user: username,
      from: formatIpv4(from.address),
      address: formatIpv6(tunnel.clientIpv6),
      prefix: prefix && formatIpv6Prefix(prefix),
    };
    this.#waiting += `${JSON.stringify(line)}\n`;
  }

  write(): void {
    if (this.#waiting === '') return;
    writeSync(this.#fd, this.#waiting);
    this.#waiting = '';
  }

  close(): void {
    this.write();
    closeSync(this.#fd);
  }
}
