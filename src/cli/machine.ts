// Commands about this machine: serve, config, doctor, counters, uninstall.

import type { Command } from 'commander';
import { Dataplane } from '../dataplane/dataplane.ts';
import { examine } from '../doctor.ts';
import { serve } from '../main.ts';
import { addConfigOption, configOf } from './config-option.ts';
import { fail, printJson, printTable } from './output.ts';

export function addMachineCommands(program: Command): void {
  addConfigOption(program.command('serve'))
    .description('start the broker on this machine')
    .action(async (flags) => {
      const { config } = configOf(flags);
      const running = await serve(config, (line) => console.log(line));
      const stop = () => {
        running.stop().then(
          () => process.exit(0),
          (error: unknown) => {
            console.error(error);
            process.exit(1);
          },
        );
      };
      process.once('SIGTERM', stop);
      process.once('SIGINT', stop);
    });

  addConfigOption(program.command('config'))
    .description('explain every setting, its value and where it comes from')
    .option('--json', 'for machines')
    .action((flags) => {
      const { explained } = configOf(flags);
      if (flags.json) {
        printJson(explained);
        return;
      }
      for (const { name, value, origin, environment, help } of explained) {
        console.log(`${name} = ${JSON.stringify(value)}   (${origin}; ${environment})`);
        console.log(`    ${help}`);
      }
    });

  addConfigOption(program.command('doctor'))
    .description('say what is missing on this machine, and what to do')
    .option('--json', 'for machines')
    .action(async (flags) => {
      const findings = await examine(configOf(flags).config);
      if (findings.some(({ state }) => state === 'failed')) process.exitCode = 1;
      if (flags.json) {
        printJson(findings);
        return;
      }
      const marks = { ok: '✔', warning: '!', failed: '✘' } as const;
      for (const { check, state, found, advice } of findings) {
        console.log(`${marks[state]} ${check}: ${found}`);
        if (advice !== undefined) console.log(`    ${advice}`);
      }
    });

  addConfigOption(program.command('counters'))
    .description('what became of every packet that the kernel programs saw, by outcome')
    .option('--json', 'for machines')
    .action((flags) => {
      const { pinDirectory } = configOf(flags).config.dataplane;
      const dataplane = Dataplane.read(pinDirectory);
      if (!dataplane) fail(`nothing is loaded in ${pinDirectory}: start the broker first`);
      const outcomes = dataplane.outcomes();
      dataplane.close();
      if (flags.json) {
        printJson(outcomes);
        return;
      }
      printTable(
        ['outcome', 'packets', 'bytes'],
        outcomes
          .filter(({ packets }) => packets > 0n)
          .map(({ outcome, packets, bytes }) => [outcome, packets, bytes]),
      );
    });

  addConfigOption(program.command('uninstall'))
    .description('take programs, maps and the tunnel device out of the kernel; all traffic stops')
    .option('--yes', 'do it without asking')
    .action((flags) => {
      const { pinDirectory, device } = configOf(flags).config.dataplane;
      if (!flags.yes) fail('this stops the traffic of every tunnel: repeat it with --yes');
      const actions = Dataplane.uninstall(pinDirectory, device);
      for (const action of actions) console.log(action);
      if (actions.length === 0) console.log('There was nothing to take out');
    });
}
