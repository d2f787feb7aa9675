import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { formatIpv4, parseIpv4 } from '../../src/address.ts';
import { cpuSecondsOf } from '../../src/bench/cpu.ts';
import { Sockets } from '../../src/bench/sockets.ts';

test('datagrams leave from any own address, and come back to it', async (context) => {
  const server = createSocket('udp4');
  server.on('message', (bytes, { address, port }) => {
    server.send(Buffer.concat([Buffer.from(`${address}: `), bytes]), port, address);
  });
  context.after(() => server.close());
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Sockets(3, { address: parseIpv4('127.0.0.1')!, port: server.address().port });
  context.after(() => sockets.close());
  // No more than the server's buffer takes at once, and more than one batch.
  const count = 200;
  for (let i = 0; i < count; i++) {
    const local = parseIpv4(`127.5.${i}.9`)!;
    sockets.send(i % 3, local, Buffer.from(`${i} on ${i % 3}`));
    if (i % 80 === 79) sockets.flush();
  }
  sockets.flush();
  const heard = new Set<string>();
  for (let turns = 0; heard.size < count && turns < 500; turns++) {
    sockets.receive(1.5, (socket, local, bytes) => {
      const text = Buffer.from(bytes).toString();
      assert.ok(text.startsWith(`${formatIpv4(local)}: `), text);
      assert.ok(text.endsWith(`on ${socket}`), text);
      heard.add(text);
    });
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(heard.size, count);
  assert.equal(sockets.unsent, 0);
});

test('waiting ends when it is over', () => {
  const sockets = new Sockets(1, { address: parseIpv4('127.0.0.1')!, port: 9 });
  const beganMs = performance.now();
  assert.equal(
    sockets.receive(30, () => assert.fail('nobody has sent anything')),
    0,
  );
  assert.ok(performance.now() - beganMs >= 29);
  sockets.close();
});

test('an address of somebody else is refused with the reason', () => {
  const sockets = new Sockets(1, { address: parseIpv4('127.0.0.1')!, port: 9 });
  sockets.send(0, parseIpv4('192.0.2.77')!, new Uint8Array(1));
  assert.throws(
    () => sockets.flush(),
    (error: { code?: string }) => ['EINVAL', 'ENETUNREACH'].includes(error.code ?? ''),
  );
  sockets.close();
});

test('the CPU time of a process is that of its children too', async () => {
  const busy = 'while (process.cpuUsage().user < 400_000);';
  // The exit code of `true` keeps the shell from turning into the other program.
  const shell = spawn(
    'sh',
    ['-c', `'${process.execPath}' -e '${busy} setTimeout(() => {}, 20_000)'; true`],
    {
      detached: true,
    },
  );
  const deadlineMs = performance.now() + 10_000;
  while ((cpuSecondsOf(shell.pid!) ?? 0) < 0.3 && performance.now() < deadlineMs) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const seconds = cpuSecondsOf(shell.pid!);
  process.kill(-shell.pid!);
  assert.ok(seconds !== undefined && seconds >= 0.3 && seconds < 2, `${seconds}`);
  await once(shell, 'exit');
  assert.equal(cpuSecondsOf(2 ** 22 + 1), undefined);
});
