// `/api/v1/tunnels/{id}/configurations`: how the tunnel is set up on each system, as the page says it.

import { Type } from 'typebox';
import type { Step } from '../../setup/instructions.ts';
import { type Language, proseText } from '../../setup/texts.ts';
import { instructionsFor, instructionsOf, systemOf } from '../../setup.ts';
import type { Portal } from '../portal.ts';
import { factsFor } from '../tunnel-facts.ts';
import { type Api, callerOf } from './caller.ts';
import { problem } from './problems.ts';
import { described, IdParams, LanguageQuery, Nullable, PROBLEMS } from './schemas.ts';

const Query = Type.Object({
  ...LanguageQuery.properties,
  encapsulation: Type.Optional(Type.Union([Type.Literal('v6udpv4'), Type.Literal('v6v4')])),
});

const StepShape = Type.Object({
  text: Type.Optional(Type.String({ description: 'What to do, in words' })),
  code: Type.Optional(Type.String({ description: 'What to type, or a file’s content' })),
  language: Type.Optional(Type.String()),
  path: Type.Optional(Type.String()),
  mode: Type.Optional(Type.String()),
});

const Configuration = Type.Object({
  system: Type.String(),
  title: Type.String(),
  serves: Type.Boolean(),
  why: Nullable(Type.String({ description: 'Why it does not serve' })),
});

const Steps = Type.Array(StepShape);

export function configurationRoutes(api: Api, portal: Portal): void {
  const { tunnels } = portal;
  const config = { scope: 'tunnels:read' } as const;
  const about = (operationId: string, summary: string) =>
    described('tunnels', operationId, summary, 'tunnels:read');

  api.get(
    '/tunnels/:id/configurations',
    {
      config,
      schema: {
        ...about('listConfigurations', 'The systems, and whether each can have this tunnel'),
        params: IdParams,
        querystring: Query,
        response: { 200: Type.Object({ items: Type.Array(Configuration) }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const tunnel = await tunnels.find(callerOf(request).person, request.params.id);
      if (!tunnel) return problem(reply, 404, 'not-found');
      const { language = 'en', encapsulation } = request.query;
      const facts = factsFor(tunnels.terms, tunnel, encapsulation);
      return {
        items: (facts ? instructionsFor(facts) : []).map((found) => ({
          system: found.system.id,
          title: found.system.title,
          serves: found.serves,
          why: found.serves ? null : proseText(found.why, language),
        })),
      };
    },
  );

  api.get(
    '/tunnels/:id/configurations/:system',
    {
      config,
      schema: {
        ...about('getConfiguration', 'Every step, with all values but the secret'),
        params: Type.Object({ ...IdParams.properties, system: Type.String({ maxLength: 40 }) }),
        querystring: Query,
        response: {
          200: Type.Object({
            ...Configuration.properties,
            setUp: Steps,
            check: Steps,
            undo: Steps,
          }),
          ...PROBLEMS,
        },
      },
    },
    async (request, reply) => {
      const tunnel = await tunnels.find(callerOf(request).person, request.params.id);
      const system = systemOf(request.params.system);
      const { language = 'en', encapsulation } = request.query;
      const facts = tunnel && factsFor(tunnels.terms, tunnel, encapsulation);
      if (!facts || !system) return problem(reply, 404, 'not-found');
      const found = instructionsOf(system, facts);
      const head = { system: system.id, title: system.title, serves: found.serves };
      if (!found.serves)
        return { ...head, why: proseText(found.why, language), setUp: [], check: [], undo: [] };
      const steps = (all: readonly Step[]) => all.map((step) => stepView(step, language));
      const { setUp, check, undo } = found;
      return { ...head, why: null, setUp: steps(setUp), check: steps(check), undo: steps(undo) };
    },
  );
}

function stepView(step: Step, language: Language) {
  return step.type === 'prose'
    ? { text: proseText(step.said, language) }
    : { code: step.text, language: step.language, ...step.file };
}
