// Times as people read them, in UTC, since the server cannot know where they are. A formatter takes long
// to make and none to use, so each is made once.

const formatters = new Map<string, Intl.DateTimeFormat>();

/** `seconds`: where they matter. */
export function formatTime(locale: string, atMs: number, seconds = false): string {
  const timeStyle = seconds ? 'medium' : 'short';
  return formatterOf(locale, { dateStyle: 'medium', timeStyle, hourCycle: 'h23' }).format(atMs);
}

export function formatterOf(
  locale: string,
  options: Intl.DateTimeFormatOptions,
): Intl.DateTimeFormat {
  const key = `${locale} ${JSON.stringify(options)}`;
  let formatter = formatters.get(key);
  if (!formatter) {
    formatter = new Intl.DateTimeFormat(locale, { ...options, timeZone: 'UTC' });
    formatters.set(key, formatter);
  }
  return formatter;
}
