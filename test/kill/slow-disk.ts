// Loaded into the server (NODE_OPTIONS=--import): a disk that takes its time, as one that turns does. On a
// fast one hardly any login is between its commit's begin and its end when the server is killed, and an
// answer that leaves too early would be found once in a hundred kills.

import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const LONGEST_MS = 10;

const { fdatasync } = fs;
Object.assign(fs, {
  fdatasync: (file: number, done: fs.NoParamCallback) =>
    fdatasync(file, (error) => setTimeout(done, LONGEST_MS * Math.random(), error)),
});
syncBuiltinESMExports();
