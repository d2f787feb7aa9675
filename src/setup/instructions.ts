// The shape of instructions, and the small pieces that those of many systems are made of. Knows no
// system.

import { type Prose, prose } from './texts.ts';
import type { TextKey } from './texts-en.ts';
import type { Encapsulation, Values } from './values.ts';

/** What a code block is written in; `form` is `label: value`, a line for each field of a page. */
export type CodeLanguage =
  | 'sh'
  | 'ini'
  | 'yaml'
  | 'conf'
  | 'form'
  | 'cmd'
  | 'routeros'
  | 'vyos'
  | 'ios'
  | 'junos'
  | 'fortios';

export interface CodeStep {
  readonly type: 'code';
  readonly language: CodeLanguage;
  /** Without a newline at its end. */
  readonly text: string;
  /** Set where the text is a whole file; `mode` is octal. */
  readonly file?: { readonly path: string; readonly mode: string };
  /** The command runs until Ctrl+C. */
  readonly foreground?: true;
}

export type Step = { readonly type: 'prose'; readonly said: Prose } | CodeStep;

export interface Sections {
  readonly setUp: readonly Step[];
  readonly check: readonly Step[];
  readonly undo: readonly Step[];
}

/** How sure it is that the instructions work. */
export type Evidence =
  /** The project's tests run them where the kernel can. */
  | 'run'
  /** As the system's own documentation or source says. */
  | 'documented'
  /** As its users report. */
  | 'reported';

export interface System {
  readonly id: string;
  /** A proper name, the same in every language. */
  readonly title: string;
  readonly encapsulations: readonly Encapsulation[];
  /** What it says of itself is its own address, so a NAT in between breaks it. */
  readonly needsPublicAddress: boolean;
  /** Whether the steps set up a network behind it, where there is a prefix. */
  readonly servesNetwork: boolean;
  readonly evidence: Evidence;
  readonly sections: (values: Values) => Sections;
}

export function say<K extends TextKey>(...args: Parameters<typeof prose<K>>): Step {
  return { type: 'prose', said: prose<K>(...args) };
}

export function code(language: CodeLanguage, ...lines: readonly string[]): CodeStep {
  return { type: 'code', language, text: lines.join('\n') };
}

export function sh(...lines: readonly string[]): CodeStep {
  return code('sh', ...lines);
}

export function file(
  path: string,
  mode: string,
  language: CodeLanguage,
  ...lines: readonly string[]
): CodeStep {
  return { ...code(language, ...lines), file: { path, mode } };
}
