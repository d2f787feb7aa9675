// What a language has to offer: the keys of English, each a text or a function of the same arguments.

import type { Html } from '../html.ts';
import type { en } from './en.ts';

type Shape<T> = T extends string
  ? string
  : T extends (...values: infer V) => infer R
    ? (...values: V) => R extends Html ? Html : string
    : { readonly [K in keyof T]: Shape<T[K]> };

export type Words = Shape<typeof en>;
