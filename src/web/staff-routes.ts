// Every route for staff, page or API, names the permission that it takes: one that does not cannot be
// registered. What each takes is known to whoever asks, such as the test that tries them all.

import type { FastifyInstance } from 'fastify';
import type { Permission } from '../broker/permissions.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Of staff; see permissions.ts in the broker. */
    permission?: Permission;
  }
}

export interface StaffRoute {
  readonly method: string;
  readonly path: string;
  readonly permission: Permission;
}

const STAFF_PATHS = /^(?:\/api\/v\d+)?\/admin(?:[/.]|$)/;

/** Before any route is added; the list grows as routes are. */
export function watchStaffRoutes(app: FastifyInstance): readonly StaffRoute[] {
  const routes: StaffRoute[] = [];
  app.addHook('onRoute', ({ method, url, config }) => {
    const permission = config?.permission;
    if (STAFF_PATHS.test(url) && permission === undefined)
      throw new Error(`${url} is for staff and names no permission`);
    if (permission === undefined) return;
    if (!STAFF_PATHS.test(url))
      throw new Error(`${url} takes a permission and is not below /admin`);
    for (const each of [method].flat())
      if (each !== 'HEAD') routes.push({ method: each, path: url, permission });
  });
  return routes;
}
