// `--config FILE`, which every command of the broker's machine understands.

import type { Command } from 'commander';
import { type Config, DEFAULT_CONFIG_FILE, type Explained, loadConfig } from '../config.ts';
import { fail } from './output.ts';

export function addConfigOption(command: Command): Command {
  return command.option('--config <file>', `configuration (default: ${DEFAULT_CONFIG_FILE})`);
}

/** The configuration that the flags name; ends the command with every problem that it has. */
export function configOf(flags: { config?: string }): {
  config: Config;
  explained: readonly Explained[];
} {
  const loaded = loadConfig(flags.config);
  if (!loaded.ok) fail(`the configuration cannot be used:\n  ${loaded.problems.join('\n  ')}`);
  return loaded;
}
