// The interfaces that the server works on: the uplink, which must be there, and the tunnel device, which
// is made when it is not.

import { closeSync } from 'node:fs';
import { openTun } from './native.ts';
import { bringUp, findInterface, type InterfaceState } from './network.ts';

export function requireUplink(name: string): InterfaceState {
  const uplink = findInterface(name);
  if (!uplink) throw new Error(`There is no interface ${name} to use as uplink`);
  return uplink;
}

export function ensureTunnelDevice(name: string, mtu: number, actions: string[]): InterfaceState {
  const existing = findInterface(name);
  if (existing && existing.kind !== 'tun')
    throw new Error(`Interface ${name} exists and is not a TUN device`);
  if (!existing) {
    closeSync(openTun(name, true));
    actions.push(`created device ${name}`);
  }
  bringUp(name, mtu);
  const device = findInterface(name);
  if (!device) throw new Error(`Device ${name} went away`);
  return device;
}
