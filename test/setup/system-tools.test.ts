// What is generated for programs of Linux distributions, read by these programs themselves where this
// machine has them: they are asked to read it and change nothing.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import type { CodeStep } from '../../src/setup/instructions.ts';
import { instructionsOf, systemOf } from '../../src/setup.ts';
import { facts, ODD_NAME } from './facts.ts';

const directory = mkdtempSync(join(tmpdir(), 'sixway-setup-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function codeOf(id: string, withPrefix = true, user = 'ada'): CodeStep[] {
  const tunnel = facts({ user, ...(!withPrefix && { prefix: undefined }) });
  const found = instructionsOf(systemOf(id)!, tunnel);
  assert.ok(found.serves);
  return found.setUp.filter((step) => step.type === 'code');
}

/** The first that is there; else the test is skipped. */
function program(t: TestContext, ...paths: readonly string[]): string | undefined {
  const found = paths.find((path) => existsSync(path));
  if (found === undefined) t.skip(`this machine has no ${basename(paths[0] ?? '')}`);
  return found;
}

function run(command: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  assert.equal(status, 0, `${stdout}${stderr}`);
  return `${stdout}${stderr}`;
}

function writeBelow(root: string, path: string, text: string, mode = 0o600): string {
  const file = join(directory, root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${text}\n`, { mode });
  return file;
}

test('systemd reads the units', (t) => {
  const analyze = program(t, '/usr/bin/systemd-analyze');
  if (!analyze) return;
  for (const [id, user] of [
    ['sixway', ODD_NAME],
    ['systemd-networkd', 'ada'],
  ] as const)
    for (const { file, text } of codeOf(id, true, user)) {
      if (!file?.path.endsWith('.service')) continue;
      const unit = writeBelow(id, basename(file.path), text, 0o644);
      assert.doesNotMatch(run(analyze, ['verify', '--man=no', unit]), new RegExp(basename(unit)));
    }
});

test('netplan makes a tunnel of its file', (t) => {
  const generate = program(t, '/usr/libexec/netplan/generate', '/usr/lib/netplan/generate');
  if (!generate) return;
  for (const withPrefix of [true, false]) {
    const root = `netplan-${withPrefix}`;
    const yaml = codeOf('netplan', withPrefix).find(({ language }) => language === 'yaml')!;
    writeBelow(root, yaml.file!.path, yaml.text);
    run(generate, ['--root-dir', join(directory, root)]);
    assert.ok(existsSync(join(directory, root, 'run/systemd/network/10-netplan-tb6.netdev')));
  }
});

test('NetworkManager makes a connection of its command', (t) => {
  const nmcli = program(t, '/usr/bin/nmcli');
  if (!nmcli) return;
  const command = codeOf('networkmanager').find(({ text }) => text.startsWith('nmcli'))!.text;
  const [add = ''] = command.split('\nnmcli connection up');
  const shown = run('sh', ['-c', add.replace('nmcli', `${nmcli} --offline`)]);
  assert.match(shown, /^remote=203\.0\.113\.53$/m);
});

test('ifupdown makes commands of its lines', (t) => {
  const ifup = program(t, '/sbin/ifup', '/usr/sbin/ifup');
  if (!ifup) return;
  const lines = codeOf('ifupdown').find(({ text }) => text.startsWith('auto'))!.text;
  const file = writeBelow('ifupdown', 'interfaces', lines);
  const told = run(ifup, ['--no-act', '--verbose', '--force', '-i', file, 'tb6']);
  assert.match(told, /ip tunnel add tb6 mode sit remote 203\.0\.113\.53 local 198\.51\.100\.10/);
});

test('radvd reads its file', (t) => {
  const radvd = program(t, '/usr/sbin/radvd');
  if (!radvd) return;
  const { text } = codeOf('linux-sit').find(({ file }) => file?.path === '/etc/radvd.conf')!;
  run(radvd, ['--configtest', '-C', writeBelow('radvd', 'radvd.conf', text, 0o644)]);
});
