// Whole tunnels, their packets forwarded in XDP.

import { testTunnels } from './tunnel-tests.ts';

testTunnels({ xdp: true, mode: 'fast' });
