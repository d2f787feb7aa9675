// Sends UDP datagrams from inside a host, as an attacker or a broken client would:
//   node test/lab/send-datagrams.ts ADDRESS PORT [SOURCE-PORT] < lines of hex, one a datagram
// Prints how many were sent and, as hex, each answer that came within half a second.

import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';

const [address = '', port = '0', sourcePort = '0'] = process.argv.slice(2);
const datagrams = readFileSync(0, 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => Buffer.from(line, 'hex'));

const socket = createSocket('udp4');
socket.on('message', (answer) => console.log(`answer ${answer.toString('hex')}`));
socket.bind(Number(sourcePort), () => {
  for (const datagram of datagrams) socket.send(datagram, Number(port), address);
  setTimeout(() => {
    console.log(`sent ${datagrams.length}`);
    socket.close();
  }, 500);
});
