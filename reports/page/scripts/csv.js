// Tables as CSV: the texts, and the numbers behind them.

/** Write a field; one that a spreadsheet would compute begins with an apostrophe. Numbers stay numbers. */
function csvField(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (/^[=+\-@\t\r]/.test(text) && (text.trim() === "" || Number.isNaN(Number(text)))) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Beyond it a number is no measurement: it puts what never ended behind all else.
const MAX_NUMBER = 1e299;
const numberOf = (numbers) => (row) => (Math.abs(numbers[row]) > MAX_NUMBER ? null : numbers[row]);

/** Say whether the numbers of a column tell more than its texts: not of marks, nor of texts that are numbers. */
const hasNumbers = (column) =>
  column.sort && usualUnit(column) !== null && !column.texts.of.every((text) => text === UNKNOWN || !Number.isNaN(Number(text)));

/** Return rows of a table as CSV: what all rows share, then these columns, numbers with the name of their unit. */
function csvOf(table, columns, rows) {
  const fields = table.shared.map(([heading, text]) => [heading, () => text]);
  for (const column of columns) {
    fields.push([column.heading, (row) => textOf(column, row)]);
    const unit = baseUnit(column);
    if (hasNumbers(column)) fields.push([`${column.heading} [${unit || "number"}]`, numberOf(column.sort)]);
    if (column.low) {
      fields.push([`${column.heading} low${unit && ` [${unit}]`}`, numberOf(column.low)]);
      fields.push([`${column.heading} high${unit && ` [${unit}]`}`, numberOf(column.high)]);
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
