// Linux by hand: iproute2, until the next restart. Protocol 41 is a sit device; in UDP it is sit in
// FOU, for which a TSP login has to tell the broker the port.

import { linuxNetwork, noLinuxNetwork, sayKeepSending, shellCheck } from './common.ts';
import { type Sections, type Step, type System, say, sh } from './instructions.ts';
import { shellWord } from './quoting.ts';
import { connectWords, noSecretFile, SECRET_FILE, secretFile } from './tsp-clients.ts';
import { DEVICE, type Values } from './values.ts';

export const LINUX: readonly System[] = [
  {
    id: 'linux-sit',
    title: 'Linux, iproute2 (sit)',
    encapsulations: ['v6v4'],
    needsPublicAddress: true,
    servesNetwork: true,
    evidence: 'run',
    sections: sit,
  },
  {
    id: 'linux-fou',
    title: 'Linux, iproute2 (FOU)',
    encapsulations: ['v6udpv4'],
    needsPublicAddress: false,
    servesNetwork: true,
    evidence: 'run',
    sections: fou,
  },
];

const PING_FILE = `/run/${DEVICE}-ping.pid`;
const LOGIN_FILE = `/run/${DEVICE}-login.json`;

function sit(values: Values): Sections {
  const { server, client, address, linkLength, gateway, mtu } = values;
  return {
    setUp: [
      say('as-root'),
      sh(
        'modprobe sit',
        `ip tunnel add ${DEVICE} mode sit remote ${server} local ${client} ttl 64`,
        `ip link set ${DEVICE} up mtu ${mtu}`,
        `ip -6 address add ${address}/${linkLength} dev ${DEVICE}`,
        `ip -6 route replace default via ${gateway} dev ${DEVICE}`,
      ),
      ...linuxNetwork(values),
      ...keepPinging(values),
      say('not-lasting'),
    ],
    check: shellCheck(values),
    undo: [sh(...noLinuxNetwork(values), ...stopPinging, `ip tunnel del ${DEVICE}`)],
  };
}

function fou(values: Values): Sections {
  const { server, port, address, gateway, linkLength, mtu, prefix } = values;
  const login = connectWords(
    values,
    '--type',
    'v6udpv4',
    ...(prefix ? ['--prefix-length', String(prefix.length)] : []),
    '--no-default-route',
    '--once',
    '--json',
    '--secret-file',
    SECRET_FILE,
  );
  return {
    setUp: [
      say('fou-needs'),
      say('as-root-in-one-shell'),
      ...secretFile(),
      say('fou-login'),
      // Once FOU has the port no socket can have it, and the reverse: the client has to be gone.
      sh(
        `${['sixway', ...login].map(shellWord).join(' ')} > ${LOGIN_FILE} &`,
        'login=$!',
        `until grep -q '"event":"up"' ${LOGIN_FILE} || ! kill -0 "$login"; do sleep 0.2; done`,
        `port=$(sed -n 's/^{"event":"up".*"local":"[0-9.]*:\\([0-9]*\\)".*/\\1/p' ${LOGIN_FILE})`,
        'kill "$login"; wait "$login"',
        'echo "logged in from port $port"',
      ),
      say('fou-device'),
      sh(
        'modprobe -a fou sit',
        'ip fou add port "$port" ipproto 41',
        `ip link add name ${DEVICE} type sit remote ${server} ttl 64 \\`,
        `  encap fou encap-sport "$port" encap-dport ${port}`,
        `ip link set ${DEVICE} up mtu ${mtu}`,
        `ip -6 address add ${address}/${linkLength} dev ${DEVICE}`,
        `ip -6 route replace default via ${gateway} dev ${DEVICE}`,
      ),
      ...linuxNetwork(values),
      ...keepPinging(values),
      say('fou-again'),
    ],
    check: shellCheck(values),
    undo: [
      sh(
        ...noLinuxNetwork(values),
        ...stopPinging,
        `ip link del ${DEVICE}`,
        'ip fou del port "$port"',
        `rm ${LOGIN_FILE}`,
        noSecretFile,
      ),
    ],
  };
}

function keepPinging(values: Values): Step[] {
  const { gateway, keepaliveSeconds } = values;
  return [
    sayKeepSending(values),
    sh(`ping -6 -q -i ${keepaliveSeconds} ${gateway} > /dev/null &`, `echo $! > ${PING_FILE}`),
  ];
}

const stopPinging = [`kill "$(cat ${PING_FILE})"`, `rm ${PING_FILE}`];
