// How the tunnel is set up on the reader's system, with every value filled in.

import type { FastifyReply } from 'fastify';
import type { OwnTunnel } from '../../broker/tunnel-desk.ts';
import type { Step } from '../../setup/instructions.ts';
import { shellWord } from '../../setup/quoting.ts';
import { type Prose, prose, proseParts } from '../../setup/texts.ts';
import { SECRET_PLACEHOLDER } from '../../setup/values.ts';
import { instructionsOf, SYSTEMS, systemOf } from '../../setup.ts';
import { code, type Html, html } from '../html.ts';
import { HOME, type Routes } from '../routes.ts';
import { type By, factsFor } from '../tunnel-facts.ts';
import type { Visit } from '../visit.ts';
import { ofTunnel } from './tunnel.ts';

const WAYS: readonly By[] = ['v6udpv4', 'v6v4'];

export function tunnelSetupPages({ members }: Routes): void {
  members.get(
    `${HOME}/:id/setup`,
    ofTunnel((visit, _me, tunnel) => setupPage(visit, tunnel)),
  );
}

function setupPage(visit: Visit, tunnel: OwnTunnel): FastifyReply {
  const { tunnels: words } = visit.words;
  return visit.page({
    title: words.setup.title,
    scripts: ['tunnel.js'],
    main: html`
      <p class="overline"><a href="${HOME}/${tunnel.id}">${words.backTo}</a></p>
      <h1>${words.setup.title}</h1>
      ${tunnel.family === 'ipv4' ? clientOnly(visit, tunnel) : stepsFor(visit, tunnel)}
    `,
  });
}

function clientOnly(visit: Visit, { name }: OwnTunnel): Html {
  const { setup: words } = visit.words.tunnels;
  const { server } = visit.portal.tunnels.terms;
  // It asks for the secret.
  const command = `sixway connect --type v4v6 -- ${shellWord(`${name}@${server.name}`)}`;
  return html`<p>${words.onlyClient}</p>${block(visit, command)}`;
}

function stepsFor(visit: Visit, tunnel: OwnTunnel): Html {
  const { tunnels: words } = visit.words;
  const by = WAYS.find((way) => way === visit.field('by'));
  const facts = factsFor(visit.portal.tunnels.terms, tunnel, by);
  if (!facts) return html`<p class="lead">${words.setup.noServer}</p>`;
  const system = systemOf(visit.field('system')) ?? SYSTEMS[0]!;
  const found = instructionsOf(system, facts);
  const fields = visit.fields();
  const section = (key: 'set-up' | 'check' | 'undo', steps: readonly Step[]) => html`
    <h3>${said(visit, prose(key))}</h3>
    ${steps.map((step) => shown(visit, step))}
  `;
  return html`
    <form method="get" action="${HOME}/${tunnel.id}/setup" class="choice">
      ${fields.select(
        'system',
        words.setup.system,
        SYSTEMS.map(({ id, title }) => ({ value: id, text: title })),
        system.id,
      )}
      ${fields.select(
        'by',
        words.setup.by,
        WAYS.map((way) => ({ value: way, text: words.by[way] })),
        facts.encapsulation,
      )}
      <button class="button quiet">${words.setup.show}</button>
    </form>
    <h2 id="steps"><bdi>${system.title}</bdi></h2>
    ${
      found.serves
        ? html`
          <p class="hint">${words.setup.evidence[system.evidence]}</p>
          ${
            mentionsSecret(found.setUp) &&
            html`<p>${words.setup.secretText(code(SECRET_PLACEHOLDER))}
            <a href="${HOME}/${tunnel.id}#secret">${words.secret.rotate}</a></p>`
          }
          ${section('set-up', found.setUp)}
          ${section('check', found.check)}
          ${section('undo', found.undo)}
        `
        : html`<p class="notice">${words.setup.notThisWay}: ${said(visit, found.why)}</p>`
    }
  `;
}

function mentionsSecret(steps: readonly Step[]): boolean {
  return steps.some((step) => step.type === 'code' && step.text.includes(SECRET_PLACEHOLDER));
}

function said(visit: Visit, text: Prose): Html {
  return html`${proseParts(text, visit.language.tag).map(({ type, text: part }) =>
    type === 'value' ? code(part) : part,
  )}`;
}

function shown(visit: Visit, step: Step): Html {
  if (step.type === 'prose') return html`<p>${said(visit, step.said)}</p>`;
  const { setup: words } = visit.words.tunnels;
  const { file, foreground } = step;
  return html`
    ${file && html`<p class="label">${words.file(code(file.path), code(file.mode))}</p>`}
    ${block(visit, step.text)}
    ${foreground && html`<p class="hint">${words.foreground}</p>`}
  `;
}

/** The script puts a button beside it; by keyboard it can be reached to be scrolled. */
function block(visit: Visit, text: string): Html {
  const { setup: words } = visit.words.tunnels;
  return html`<div class="block" data-copy data-copy-text="${words.copy}" data-copied-text="${words.copied}"><pre dir="ltr" tabindex="0"><code>${text}</code></pre></div>`;
}
