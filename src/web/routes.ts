// How pages are registered: by who may see them. A page for members never runs for anybody else, a page
// for staff names the permission that it takes, and no form is taken that was not ours.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { SignedIn } from '../broker/people-sign-in.ts';
import { isStaff, type Permission, permits } from '../broker/permissions.ts';
import { failurePage } from './failures.ts';
import { csrfFits } from './session.ts';
import { type House, Visit } from './visit.ts';

/** Where people are who have signed in. */
export const HOME = '/tunnels';

type Answer = FastifyReply | Promise<FastifyReply>;

export interface RouteSet<Rest extends readonly unknown[]> {
  get(path: string, handler: (visit: Visit, ...rest: Rest) => Answer): void;
  /** Forms: the token in `csrf` was checked. */
  post(path: string, handler: (visit: Visit, ...rest: Rest) => Answer): void;
}

export class Routes {
  readonly #app: FastifyInstance;
  readonly #house: House;
  readonly anybody: RouteSet<[]>;
  /** Whoever else comes is sent to sign in, and back. */
  readonly members: RouteSet<[me: SignedIn]>;

  constructor(app: FastifyInstance, house: House) {
    this.#app = app;
    this.#house = house;
    this.anybody = this.#set((visit, handler) => handler(visit));
    this.members = this.#set((visit, handler: (visit: Visit, me: SignedIn) => Answer) =>
      visit.signedIn ? handler(visit, visit.signedIn) : sendToSignIn(visit),
    );
  }

  /** For staff whose role has the permission. To who is no staff there are no such pages. */
  staff(permission: Permission): RouteSet<[me: SignedIn]> {
    return this.#set((visit, handler: (visit: Visit, me: SignedIn) => Answer) => {
      if (!visit.signedIn) return sendToSignIn(visit);
      const { role } = visit.signedIn.person;
      if (permits(role, permission)) return handler(visit, visit.signedIn);
      return failurePage(visit, isStaff(role) ? 'forbidden' : 'notFound');
    }, permission);
  }

  /** Runs when the server is to end, before it waits for what is open. */
  onClose(end: () => void): void {
    this.#app.addHook('preClose', async () => end());
  }

  #set<Rest extends readonly unknown[]>(
    admit: (visit: Visit, handler: (visit: Visit, ...rest: Rest) => Answer) => Answer,
    permission?: Permission,
  ): RouteSet<Rest> {
    const config = permission === undefined ? {} : { permission };
    return {
      get: (path, handler) => {
        this.#app.get(path, { config }, async (request, reply) =>
          admit(await this.#visit(request, reply), handler),
        );
      },
      post: (path, handler) => {
        this.#app.post(path, { config }, async (request, reply) => {
          const visit = await this.#visit(request, reply);
          return this.#formIsOurs(visit) ? admit(visit, handler) : failurePage(visit, 'stale');
        });
      },
    };
  }

  async #visit(request: FastifyRequest, reply: FastifyReply): Promise<Visit> {
    const { cookies, portal } = this.#house;
    const token = cookies.read(request, 'session');
    const session = token === undefined ? undefined : await portal.people.signIns.session(token);
    return new Visit(this.#house, request, reply, session);
  }

  #formIsOurs(visit: Visit): boolean {
    // Browsers say where a form was; what no browser sent has no cookies to misuse.
    const site = visit.request.headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
    const token = this.#house.cookies.read(visit.request, visit.session ? 'session' : 'visitor');
    return csrfFits(token, visit.field('csrf'));
  }
}

function sendToSignIn(visit: Visit): FastifyReply {
  const next = visit.request.method === 'GET' ? visit.request.url : HOME;
  return visit.redirect(`/sign-in?next=${encodeURIComponent(next)}`);
}
