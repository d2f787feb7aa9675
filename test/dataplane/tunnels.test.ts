// Whole tunnels, their packets stripped in XDP.

import { testTunnels } from './tunnel-tests.ts';

testTunnels({ xdp: true, mode: 'complete' });
