// Tables as CSV: the texts, and the numbers behind them.

/** Write a field; one that a spreadsheet would compute begins with an apostrophe. Numbers stay numbers. */
function csvField(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (/^[=+\-@\t\r]/.test(text) && (text.trim() === "" || Number.isNaN(Number(text)))) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Return rows of a table as CSV, with these columns. */
function csvOf(columns, rows) {
  const fields = [];
  for (const column of columns) {
    fields.push([column.heading, (row) => textOf(column, row)]);
    if (column.sort) fields.push([`${column.heading} [number]`, (row) => column.sort[row]]);
    if (column.low) {
      fields.push([`${column.heading} [low]`, (row) => column.low[row]]);
      fields.push([`${column.heading} [high]`, (row) => column.high[row]]);
    }
  }
  const lines = [fields.map(([heading]) => csvField(heading))];
  rows.forEach((row) => lines.push(fields.map(([, value]) => csvField(value(row)))));
  return `${lines.map((line) => line.join(",")).join("\n")}\n`;
}

function saveFile(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const link = element("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
