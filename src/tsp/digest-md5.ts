// SASL DIGEST-MD5 (RFC 2831) as TSP needs it: qop=auth, algorithm md5-sess, no security layer, one
// authentication for each nonce. Both ends: challenge, response, rspauth. Where nonces come from is
// in nonces.ts. All texts hold one octet in each character.

import {
  type Credential,
  decodeText,
  equalOctets,
  inDigestCharset,
  md5,
  octetText,
  type PlainLogin,
  utf8Octets,
} from './sasl.ts';

export interface DigestChallenge {
  readonly realm: string;
  readonly nonce: string;
  /** As written: `utf-8`, or HexOS's `utf8`. The client repeats it. */
  readonly charset?: string;
}

/** A client's response that is well formed; only {@link checkDigest} says whether it is right. */
export interface DigestResponse {
  readonly username: string;
  readonly realm?: string;
  readonly nonce: string;
  readonly cnonce: string;
  readonly digestUri: string;
  readonly authzid?: string;
  /** 32 hexadecimal digits, lower case. */
  readonly response: string;
}

/**
 * The challenge. No blank between directives and no comma inside them: gogoc crashes on either.
 * It begins with a name, so that its base64 does not look like a status code.
 */
export function writeChallenge(realm: string, nonce: string): string {
  return `realm="${realm}",nonce="${nonce}",qop="auth",charset=utf-8,algorithm=md5-sess`;
}

/** Undefined when there is no nonce, or only qops or algorithms that we do not speak. */
export function readChallenge(text: string): DigestChallenge | undefined {
  const directives = readDirectives(text);
  const first = (name: string) => directives?.find(([key]) => key === name)?.[1];
  const nonce = first('nonce');
  const charset = first('charset');
  const qops = (first('qop') ?? 'auth').split(',').map((qop) => qop.trim().toLowerCase());
  if (!nonce || !qops.includes('auth')) return undefined;
  if ((first('algorithm') ?? 'md5-sess').toLowerCase() !== 'md5-sess') return undefined;
  return { realm: first('realm') ?? '', nonce, ...(charset === undefined ? {} : { charset }) };
}

/**
 * The client's response to a challenge, and the `rspauth` that proves that the server knows the
 * secret too. `cnonce` must be fresh; `digestUri` is `tsp/` and the server's name.
 */
export function answerChallenge(
  challenge: DigestChallenge,
  login: PlainLogin,
  cnonce: string,
  digestUri: string,
): { readonly response: string; readonly rspauth: string } {
  const { realm, nonce, charset } = challenge;
  const username = inDigestCharset(login.username);
  const ha1 = md5(`${username}:${realm}:${inDigestCharset(login.password)}`);
  const values = digestValues(ha1, { nonce, cnonce, digestUri });
  const sentName = charset === undefined ? username : utf8Octets(login.username);
  const response = [
    ...(charset === undefined ? [] : [`charset=${charset}`]),
    `username=${quote(sentName)}`,
    `realm=${quote(realm)}`,
    `nonce=${quote(nonce)}`,
    'nc=00000001',
    `cnonce=${quote(cnonce)}`,
    `digest-uri=${quote(digestUri)}`,
    `response=${values.response}`,
    'qop=auth',
  ].join(',');
  return { response, rspauth: `rspauth=${values.rspauth}` };
}

/**
 * Undefined when this is no DIGEST-MD5 response: a mandatory directive is missing or comes twice, or
 * it uses what we do not offer (RFC 2831 §2.1.2). Unknown directives are ignored.
 */
export function readDigestResponse(text: string): DigestResponse | undefined {
  const directives = readDirectives(text);
  if (!directives) return undefined;
  const found = new Map<string, string>();
  for (const [name, value] of directives) {
    if (found.has(name) && KNOWN_IN_RESPONSE.has(name)) return undefined;
    found.set(name, value);
  }
  const username = found.get('username');
  const realm = found.get('realm');
  const nonce = found.get('nonce');
  const cnonce = found.get('cnonce');
  const digestUri = found.get('digest-uri');
  const authzid = found.get('authzid');
  const response = found.get('response')?.toLowerCase();
  if (!username || username.length > 255 || !nonce || !cnonce || !digestUri) return undefined;
  if (!response || !/^[0-9a-f]{32}$/.test(response)) return undefined;
  if (found.get('nc') !== '00000001') return undefined;
  if ((found.get('qop') ?? 'auth').toLowerCase() !== 'auth') return undefined;
  return {
    username: decodeText(username),
    nonce,
    cnonce,
    digestUri,
    response,
    ...(realm === undefined ? {} : { realm }),
    ...(authzid === undefined ? {} : { authzid }),
  };
}

/**
 * The `rspauth=…` to send when the response is right, else undefined. The host part of digest-uri is
 * whatever the user typed as server, so only the service is looked at. The same work is done
 * whatever is wrong.
 */
export function checkDigest(
  response: DigestResponse,
  realm: string,
  credential: Credential,
): string | undefined {
  const { digestUri, authzid } = response;
  const claimed = Buffer.from(response.response, 'hex');
  let rspauth: string | undefined;
  for (const ha1 of credential.ha1s) {
    const values = digestValues(ha1, response);
    if (equalOctets(Buffer.from(values.response, 'hex'), claimed)) rspauth = values.rspauth;
  }
  const acceptable =
    (response.realm ?? realm) === realm &&
    /^tsp\//i.test(digestUri) &&
    (authzid === undefined || authzid === '' || decodeText(authzid) === response.username);
  return acceptable && rspauth !== undefined ? `rspauth=${rspauth}` : undefined;
}

export interface DigestInput {
  readonly nonce: string;
  readonly cnonce: string;
  readonly digestUri: string;
  readonly authzid?: string;
}

/**
 * RFC 2831 §2.1.2.1 with nc=00000001 and qop=auth. `ha1` goes in as 16 raw octets, zeros among
 * them included. Both results are 32 lower-case hexadecimal digits.
 */
export function digestValues(
  ha1: Uint8Array,
  { nonce, cnonce, digestUri, authzid }: DigestInput,
): { readonly response: string; readonly rspauth: string } {
  const a1 = `${octetText(ha1)}:${nonce}:${cnonce}${authzid ? `:${authzid}` : ''}`;
  const secret = md5(a1).toString('hex');
  const value = (a2: string) =>
    md5(`${secret}:${nonce}:00000001:${cnonce}:auth:${md5(a2).toString('hex')}`).toString('hex');
  return { response: value(`AUTHENTICATE:${digestUri}`), rspauth: value(`:${digestUri}`) };
}

const KNOWN_IN_RESPONSE = new Set([
  'username',
  'realm',
  'nonce',
  'cnonce',
  'nc',
  'qop',
  'digest-uri',
  'response',
  'charset',
  'authzid',
]);

/** `name=token` and `name="quoted"`, commas between; undefined at the first fault. */
function readDirectives(text: string): [name: string, value: string][] | undefined {
  const directives: [string, string][] = [];
  const directive =
    /[\s,]*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))\s*(?=,|\0*$)/sy;
  let last = text.length;
  while (last > 0 && /[\s,\0]/.test(text[last - 1]!)) last--;
  let end = 0;
  while (end < last) {
    directive.lastIndex = end;
    const match = directive.exec(text);
    if (!match) return undefined;
    const value = match[2]?.replace(/\\(.)/gs, '$1') ?? match[3] ?? '';
    directives.push([match[1]!.toLowerCase(), value]);
    end = directive.lastIndex;
  }
  return directives;
}

function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
