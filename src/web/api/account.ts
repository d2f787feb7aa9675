// `/api/v1/account`: who the token speaks for.

import { Type } from 'typebox';
import type { Portal } from '../portal.ts';
import { type Api, callerOf } from './caller.ts';

const Account = Type.Object({
  email: Type.String(),
  userName: Type.Union([Type.String(), Type.Null()]),
  role: Type.String(),
  twoFactor: Type.Boolean(),
  created: Type.String({ format: 'date-time' }),
});

export function accountRoutes(api: Api, portal: Portal): void {
  api.get(
    '/account',
    { config: { scope: 'account:read' }, schema: { response: { 200: Account } } },
    async (request) => {
      const person = callerOf(request);
      return {
        email: person.email,
        userName: person.user?.name ?? null,
        role: person.role,
        twoFactor: person.totpEnabledAtMs !== undefined,
        created: new Date(person.createdAtMs).toISOString(),
      };
    },
  );

  api.get('/account/export', { config: { scope: 'account:read' } }, async (request) =>
    portal.people.account.exportAll(callerOf(request)),
  );
}
