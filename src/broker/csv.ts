// Tables for spreadsheets. Knows nothing of what is in them.

export type CsvRow = readonly (string | number)[];

/**
 * As RFC 4180 says. A text that a spreadsheet would take for a formula gets an apostrophe before it: names
 * are what their users made up.
 */
export function formatCsv(head: readonly string[], rows: readonly CsvRow[]): string {
  const cell = (value: string | number) => {
    const text =
      typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [head, ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}
