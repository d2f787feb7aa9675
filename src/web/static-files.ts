// The few files that pages refer to, read once. Their names carry a hash of their content, so that
// browsers may keep them for ever and an upgrade is seen at once.

import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { FastifyInstance } from 'fastify';

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

export class StaticFiles {
  readonly #paths = new Map<string, string>();
  readonly #files = new Map<string, { readonly type: string; readonly content: Buffer }>();

  constructor(directory = join(import.meta.dirname, 'static')) {
    for (const name of readdirSync(directory)) {
      const extension = extname(name);
      const type = TYPES[extension];
      if (type === undefined) continue;
      const content = readFileSync(join(directory, name));
      const version = hash('sha256', content, 'hex').slice(0, 12);
      const path = `/static/${name.slice(0, -extension.length)}-${version}${extension}`;
      this.#paths.set(name, path);
      this.#files.set(path, { type, content });
    }
  }

  /** Where the file is to be had under its name for now. */
  path(name: string): string {
    const path = this.#paths.get(name);
    if (path === undefined) throw new Error(`there is no static file ${name}`);
    return path;
  }

  serve(app: FastifyInstance): void {
    for (const [path, { type, content }] of this.#files)
      app.get(path, async (_request, reply) =>
        reply
          .header('content-type', type)
          .header('cache-control', 'public, max-age=31536000, immutable')
          .send(content),
      );
    const icon = this.path('mark.svg');
    app.get('/favicon.ico', async (_request, reply) => reply.redirect(icon, 302));
  }
}
