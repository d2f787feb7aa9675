// Loaded into a server that is to be profiled (NODE_OPTIONS=--import): SIGUSR2 starts a CPU profile, a
// second one ends it and writes it to $SIXWAY_PROFILE. Not `--cpu-prof`, whose timer interrupts the
// kernel's verifier until it gives up (EAGAIN), and which would have the start in the profile.

import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';

const session = new Session();
session.connect();
let running = false;

process.on('SIGUSR2', () => {
  if (!running) {
    running = true;
    session.post('Profiler.enable');
    session.post('Profiler.start');
    return;
  }
  running = false;
  session.post('Profiler.stop', (error, result) => {
    const file = process.env.SIXWAY_PROFILE;
    if (!error && file) writeFileSync(file, JSON.stringify(result.profile));
    console.log(`The profile is in ${file}`);
  });
});
