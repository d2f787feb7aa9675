// Whole tunnels, their packets by tc alone.

import { testTunnels } from './tunnel-tests.ts';

testTunnels({ xdp: false, mode: 'complete' });
