import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadConfig } from '../src/config.ts';

const directory = mkdtempSync(join(tmpdir(), 'sixway-config-'));
after(() => rmSync(directory, { recursive: true }));

function fileWith(content: string): string {
  const file = join(directory, 'sixway.toml');
  writeFileSync(file, content);
  return file;
}

function problemsOf(content: string, environment: NodeJS.ProcessEnv = {}): readonly string[] {
  const loaded = loadConfig(fileWith(content), environment);
  return loaded.ok ? [] : loaded.problems;
}

test('the environment wins over the file and the file over the default', () => {
  const file = fileWith('[tsp]\nport = 4000\n[tunnel]\nmtu = 1400\n');
  const loaded = loadConfig(file, { SIXWAY_TSP_PORT: '4001' });
  assert.ok(loaded.ok);
  assert.equal(loaded.config.tsp.port, 4001);
  assert.equal(loaded.config.tunnel.mtu, 1400);
  assert.equal(loaded.config.tunnel.keepaliveSeconds, 30);
  const origins = new Map(loaded.explained.map(({ name, origin }) => [name, origin]));
  assert.equal(origins.get('tsp.port'), 'environment');
  assert.equal(origins.get('tunnel.mtu'), 'file');
  assert.equal(origins.get('tunnel.keepaliveSeconds'), 'default');
});

test('every wrong value is named with what was expected', () => {
  const problems = problemsOf('[tsp]\nport = 0\nmechanisms = ["LOGIN"]\n[tunnel]\nmtu = "x"\n');
  assert.equal(problems.length, 3);
  assert.match(problems[0] ?? '', /tsp\.port must be a whole number from 1 to 65535, found 0/);
  assert.match(problems[1] ?? '', /tsp\.mechanisms must be a list out of SCRAM-SHA-256/);
  assert.match(problems[2] ?? '', /tunnel\.mtu must be/);
});

test('an unknown setting is refused, so that a spelling mistake shows', () => {
  assert.match(problemsOf('[tsp]\nprot = 3653\n')[0] ?? '', /tsp\.prot is not a setting/);
  assert.match(problemsOf('port = 3653\n')[0] ?? '', /port is not a setting/);
});

test('broken TOML is a problem with the file’s name, not a crash', () => {
  assert.match(problemsOf('[tsp\n')[0] ?? '', /sixway\.toml: /);
});

test('a named file that is missing is a problem', () => {
  const loaded = loadConfig(join(directory, 'missing.toml'), {});
  assert.deepEqual(loaded, {
    ok: false,
    problems: [`${join(directory, 'missing.toml')}: cannot be read (ENOENT)`],
  });
});

test('a list can be given in the environment', () => {
  const loaded = loadConfig(fileWith(''), { SIXWAY_TSP_MECHANISMS: 'digest-md5, ANONYMOUS' });
  assert.ok(loaded.ok);
  assert.deepEqual(loaded.config.tsp.mechanisms, ['DIGEST-MD5', 'ANONYMOUS']);
});

test('other brokers are addresses or names, perhaps with a port', () => {
  const listOf = (list: readonly string[]) => `[tsp]\nredirect = ${JSON.stringify(list)}\n`;
  const fine = ['203.0.113.9', 'tb2.example.net:3653', '2001:db8::9', '[2001:db8::9]:3653', 'tb'];
  assert.deepEqual(problemsOf(listOf(fine)), []);
  assert.deepEqual(problemsOf(listOf([])), []);
  for (const bad of [
    '',
    'a b',
    '203.0.113',
    '203.0.113.9:x',
    '[2001:db8::9',
    'a/b',
    '2001:db8::9:x',
  ]) {
    assert.match(problemsOf(listOf([bad]))[0] ?? '', /tsp\.redirect must be a list/, bad);
  }
  assert.equal(problemsOf(listOf(new Array<string>(51).fill('tb'))).length, 1);
  const loaded = loadConfig(fileWith(''), { SIXWAY_TSP_REDIRECT: '203.0.113.9, tb2.example.net' });
  assert.ok(loaded.ok);
  assert.deepEqual(loaded.config.tsp.redirect, ['203.0.113.9', 'tb2.example.net']);
});

test('by default nobody is sent away, and no secret travels in clear text', () => {
  const loaded = loadConfig(fileWith(''), {});
  assert.ok(loaded.ok);
  const { redirect, mechanisms, v4v6, address6 } = loaded.config.tsp;
  assert.deepEqual(redirect, []);
  assert.deepEqual(mechanisms, ['SCRAM-SHA-256', 'DIGEST-MD5']);
  assert.deepEqual([v4v6, address6], [false, 'auto']);
});

test('ports are a list of numbers, at most four, or none', () => {
  const portsOf = (content: string, environment: NodeJS.ProcessEnv = {}) => {
    const loaded = loadConfig(fileWith(content), environment);
    return loaded.ok ? loaded.config.tunnel.filteredPorts : loaded.problems;
  };
  assert.deepEqual(portsOf(''), [25]);
  assert.deepEqual(portsOf('[tunnel]\nfilteredPorts = [25, 445]\n'), [25, 445]);
  assert.deepEqual(portsOf('[tunnel]\nfilteredPorts = []\n'), []);
  assert.deepEqual(portsOf('', { SIXWAY_TUNNEL_FILTERED_PORTS: '25, 465' }), [25, 465]);
  assert.deepEqual(portsOf('', { SIXWAY_TUNNEL_FILTERED_PORTS: '' }), []);
  for (const wrong of ['[0]', '[1, 2, 3, 4, 5]', '["smtp"]', '25'])
    assert.match(String(portsOf(`[tunnel]\nfilteredPorts = ${wrong}\n`)), /a list of at most four/);
});
