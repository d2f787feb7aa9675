// Moves a v4v6 tunnel between two clients as fast as it can, until it is ended:
//   flip-client.ts PIN-DIRECTORY SLOT ADDRESS ADDRESS

import { Dataplane } from '../../src/dataplane/dataplane.ts';
import { address6 } from './scratch.ts';

const [pinDirectory = '', slot = '', one = '', other = ''] = process.argv.slice(2);
const plane = Dataplane.read(pinDirectory);
if (!plane) throw new Error(`no maps in ${pinDirectory}`);
console.log('flipping');
const clients = [address6(one), address6(other)];
const endMs = Date.now() + 20_000;
for (let i = 0; i % 1024 !== 0 || Date.now() < endMs; i++)
  plane.putV4v6(Number(slot), { client: clients[i & 1] ?? 0n });
