// `make demo`: a small internet on this machine, the real broker, a real client behind a NAT, and
// every step shown. Ends by itself, removes what it built, and exits non-zero if a step failed.
// With --keep it stays up until it is interrupted.

import {
  BROKER_IPV4,
  buildInternet,
  DELEGATION_POOL,
  HOME_IPV4,
  type Internet,
  LINK_POOL,
  WEB_IPV6,
} from '../test/lab/internet.ts';
import { Lab } from '../test/lab/lab.ts';
import { ping, startWebServer } from '../test/lab/probe.ts';
import { type RunningBroker, startBroker, startClient } from '../test/lab/sixway.ts';

const keep = process.argv.includes('--keep');
const colour = process.stdout.isTTY && process.env.NO_COLOR === undefined;
const paint = (code: string) => (text: string) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
const bold = paint('1');
const dim = paint('2');
const green = paint('32');
const red = paint('31');
const cyan = paint('36');

const MAP = `
  client ──────── home router ──────── backbone ──────── broker
  192.168.7.2     NAT, IPv4 only          │              ${BROKER_IPV4}
  no IPv6         ${HOME_IPV4}           │              hands out ${DELEGATION_POOL}
                                          └───────────── web server
                                                         ${WEB_IPV6}, no IPv4
`;

let failures = 0;
let steps = 0;

function heading(text: string): void {
  steps++;
  console.log(`\n${bold(`${steps}. ${text}`)}`);
}

function show(text: string): void {
  for (const line of text.trimEnd().split('\n')) console.log(`   ${line}`);
}

function check(what: string, passed: boolean): void {
  if (!passed) failures++;
  console.log(`   ${passed ? green('✔') : red('✘')} ${what}`);
}

/** Shows the command as it would be typed on that machine, runs it and shows what it prints. */
async function typed(on: string, line: string, run: () => Promise<string>): Promise<string> {
  console.log(`   ${dim(`${on}$`)} ${cyan(line)}`);
  const printed = await run();
  show(printed);
  return printed;
}

async function demonstrate(lab: Lab): Promise<{ net: Internet; broker: RunningBroker }> {
  heading('A small internet out of network namespaces');
  console.log(MAP.replace(/\n$/, ''));
  const net = await buildInternet(lab);
  await startWebServer(net.web);
  check('the client reaches the broker over IPv4', (await ping(net.client, BROKER_IPV4)) === 1);
  check(
    'the client has no IPv6',
    (await net.client.try('ping', ['-c', '1', '-W', '1', WEB_IPV6])).code !== 0,
  );

  heading('The broker starts, gets two pools and a user');
  const broker = await startBroker(net, {}, []);
  show(broker.service.output);
  const typedOnBroker = (words: string[]) =>
    typed('broker', `sixway ${words.join(' ')}`, () => broker.sixway(...words));
  await typedOnBroker(['pool', 'add', LINK_POOL, '--for', 'links']);
  await typedOnBroker(['pool', 'add', DELEGATION_POOL, '--for', 'delegations', '--length', '56']);
  const added = await typedOnBroker(['user', 'add', 'alice']);
  const secret = /: (\S+)$/m.exec(added)?.[1];

  heading('The client logs in with DIGEST-MD5 through the NAT');
  const target = `alice@${BROKER_IPV4}`;
  const args = ['--prefix-length', '56', '--mechanism', 'DIGEST-MD5', '--verbose'];
  console.log(`   ${dim('client$')} ${cyan(`sixway connect ${target} ${args.join(' ')}`)}`);
  const client = startClient(net.client, target, secret, ...args);
  const up = await client.says(/tunnel is up/i, 15_000).then(
    () => true,
    () => false,
  );
  show(client.output);
  check('the tunnel is up', up);

  heading('IPv6, on a host that had none');
  const answered = await typed('client', `ping -c 3 ${WEB_IPV6}`, async () => {
    const outcome = await net.client.try('ping', ['-c', '3', '-i', '0.2', WEB_IPV6]);
    return outcome.stdout + outcome.stderr;
  });
  check('every ping came back', answered.includes(' 0% packet loss'));
  const page = await typed('client', `curl http://[${WEB_IPV6}]/`, async () => {
    const outcome = await net.client.try('curl', ['-sS', '-m', '5', `http://[${WEB_IPV6}]/`]);
    return outcome.stdout + outcome.stderr;
  });
  check('the IPv6-only page came through the tunnel', page.includes('Hello'));

  heading('What the kernel counted: no packet of the tunnel was in user space');
  const shown = await typedOnBroker(['tunnel', 'show', 'alice']);
  check('the tunnel’s counters moved', /packets/i.test(shown));
  await typedOnBroker(['counters']);
  return { net, broker };
}

const started = Date.now();
const lab = new Lab();
let interrupted: (() => void) | undefined;
const interruption = new Promise<void>((resolve) => {
  interrupted = resolve;
});
let wasInterrupted = false;
let finished = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    wasInterrupted = true;
    interrupted?.();
  });
}

const demonstration = demonstrate(lab).then(async ({ net }) => {
  finished = true;
  if (!keep) return;
  heading('Everything stays up until you press Ctrl-C. Look around from another terminal:');
  for (const host of [net.client, net.broker, net.web]) {
    const [file, words] = host.inside('bash', []);
    show(`${host.name.padEnd(8)} ${[file, ...words].join(' ')}`);
  }
  show(`The broker's configuration: ${lab.directory}/broker/sixway.toml`);
  await interruption;
});
try {
  await Promise.race([demonstration, interruption]);
} catch (error) {
  failures++;
  console.error(red(`\n${(error as Error).message}`));
} finally {
  await lab.close();
  // A demonstration that was interrupted fails at its next step, which is of no interest.
  await demonstration.catch(() => {});
}
const seconds = ((Date.now() - started) / 1000).toFixed(1);
const gone = 'everything that was built is gone again';
if (wasInterrupted && !finished) console.log(`\nInterrupted after ${seconds} s; ${gone}.`);
else if (failures === 0) console.log(`\n${green('All of it worked')}, in ${seconds} s; ${gone}.`);
else console.log(`\n${red(`${failures} step(s) failed`)}, after ${seconds} s; ${gone}.`);
process.exitCode = wasInterrupted && !finished ? 130 : failures === 0 ? 0 : 1;
