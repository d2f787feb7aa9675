// Reads the XML subset that TSP needs into elements, and nothing that could make a small message
// into a large amount of work: no DOCTYPE, no entities beyond the predefined, no processing
// instructions, bounded size and depth. Knows no TSP vocabulary (vocabulary.ts does).

import { SaxesParser, type SaxesTagPlain } from 'saxes';
import { MAX_MESSAGE_OCTETS, trimOctets } from './framing.ts';

export const MAX_DEPTH = 8;

const UTF8 = new TextDecoder('utf-8', { fatal: true });

export interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** The text directly inside, without the children's, trimmed. */
  readonly text: string;
  readonly children: readonly Element[];
}

/**
 * The root element of a UTF-8 document. NULs and white space around it are ignored (gogoc sends
 * the NUL that ends a C string). Undefined at the first fault of any kind.
 */
export function readXml(bytes: Uint8Array): Element | undefined {
  if (bytes.length > MAX_MESSAGE_OCTETS) return undefined;
  try {
    return parse(UTF8.decode(trimOctets(bytes)));
  } catch (error) {
    // saxes throws at a fault when it is given no error handler; the decoder throws a TypeError.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

export function childrenNamed(element: Element | undefined, name: string): readonly Element[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

export function childNamed(element: Element | undefined, name: string): Element | undefined {
  return element?.children.find((child) => child.name === name);
}

interface OpenElement {
  name: string;
  attributes: Record<string, string>;
  text: string;
  children: Element[];
}

function parse(document: string): Element | undefined {
  const parser = new SaxesParser({ xmlns: false });
  const open: OpenElement[] = [];
  let root: Element | undefined;
  const refuse = (what: string) => () => {
    throw new Error(`${what} in a TSP message`);
  };
  const addText = (text: string) => {
    const current = open.at(-1);
    if (current) current.text += text;
  };
  parser.on('doctype', refuse('DOCTYPE'));
  parser.on('processinginstruction', refuse('processing instruction'));
  parser.on('opentag', (tag: SaxesTagPlain) => {
    if (open.length === MAX_DEPTH) refuse('too deep an element')();
    open.push({ name: tag.name, attributes: tag.attributes, text: '', children: [] });
  });
  parser.on('text', addText);
  parser.on('cdata', addText);
  parser.on('closetag', () => {
    const closed = open.pop()!;
    const element = { ...closed, text: closed.text.trim() };
    const parent = open.at(-1);
    if (parent) parent.children.push(element);
    else root = element;
  });
  parser.write(document).close();
  return root;
}
