// The `sixway` command: its sub-commands, and the one place where failures become a line on the
// terminal and an exit code. What the sub-commands do is in cli/.

import { Command } from 'commander';
import { addAbuseCommand } from './cli/abuse.ts';
import { addBenchCommands } from './cli/bench.ts';
import { addConnectCommand } from './cli/connect.ts';
import { addGroupCommands } from './cli/groups.ts';
import { addMachineCommands } from './cli/machine.ts';
import { CommandFailed } from './cli/output.ts';
import { addPersonCommands } from './cli/people.ts';
import { addPoolCommands } from './cli/pools.ts';
import { addTunnelCommands } from './cli/tunnels.ts';
import { addUserCommands } from './cli/users.ts';
import { addWebCommand } from './cli/web.ts';
import { Unusable } from './parts.ts';
import { StoreError } from './store/error.ts';

const program = new Command('sixway')
  .description('IPv6 tunnel broker: TSP signalling (RFC 5572), eBPF data plane')
  .version('0.1.0')
  .showHelpAfterError()
  .configureHelp({ sortSubcommands: false });

addMachineCommands(program);
addUserCommands(program);
addGroupCommands(program);
addPoolCommands(program);
addTunnelCommands(program);
addAbuseCommand(program);
addConnectCommand(program);
addPersonCommands(program);
addWebCommand(program);
addBenchCommands(program);

// A reader that closes early (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
});

try {
  await program.parseAsync();
} catch (error) {
  if (!isExpected(error)) throw error;
  console.error(`sixway: ${error.message}`);
  process.exitCode = 1;
}

/** Failures that the person at the terminal can do something about; others show their stack. */
function isExpected(error: unknown): error is Error {
  return (
    error instanceof CommandFailed ||
    error instanceof Unusable ||
    error instanceof StoreError ||
    (error instanceof Error && error.name === 'KernelError')
  );
}
