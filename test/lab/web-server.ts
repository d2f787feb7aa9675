// A web server for labs, run as a process of its own inside a host:
//   node test/lab/web-server.ts PORT
// GET /            a short page
// GET /bytes/N     N bytes of a fixed pattern
// PUT /bytes       answers "<count> <sha256>" of what was sent

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { patternBlock } from './pattern.ts';

const port = Number(process.argv[2] ?? 80);

const server = createServer((request, response) => {
  const url = request.url ?? '/';
  if (request.method === 'PUT') {
    const hash = createHash('sha256');
    let count = 0;
    request.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      count += chunk.length;
    });
    request.on('end', () => response.end(`${count} ${hash.digest('hex')}\n`));
    return;
  }
  const bytes = /^\/bytes\/(\d{1,10})$/.exec(url);
  if (bytes) {
    let left = Number(bytes[1]);
    response.writeHead(200, { 'content-length': left });
    const more = () => {
      while (left > 0) {
        const block = patternBlock(Math.min(left, 65_536));
        left -= block.length;
        if (!response.write(block)) {
          response.once('drain', more);
          return;
        }
      }
      response.end();
    };
    more();
    return;
  }
  const from = request.socket.remoteAddress ?? 'somewhere';
  response.end(`Hello from the IPv6-only internet. You came from ${from}.\n`);
});

server.listen(port, '::', () => console.log(`listening on ${port}`));
