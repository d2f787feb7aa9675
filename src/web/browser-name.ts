// Which browser it is, for its owner to recognise: roughly, since every one claims to be every other.

const BROWSERS = [
  ['Firefox', /Firefox\//],
  ['Edge', /Edg(?:A|iOS)?\//],
  ['Opera', /OPR\//],
  ['Chrome', /(?:Chrome|CriOS|Chromium)\//],
  ['Safari', /Version\/.* Safari\//],
  ['curl', /^curl\//],
] as const;

const SYSTEMS = [
  ['Android', /Android/],
  ['iPhone', /iPhone/],
  ['iPad', /iPad/],
  ['Windows', /Windows/],
  ['macOS', /Macintosh/],
  ['Linux', /Linux|X11/],
] as const;

/** Such as `Firefox, Linux`; undefined: nobody can tell. */
export function browserName(userAgent: string): string | undefined {
  const found = [BROWSERS, SYSTEMS]
    .map((names) => names.find(([, pattern]) => pattern.test(userAgent))?.[0])
    .filter((name) => name !== undefined);
  return found.length === 0 ? undefined : found.join(', ');
}
