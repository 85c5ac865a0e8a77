// What the page is given, and how to read it. Texts enter the page as text only, never as HTML.
const DATA = JSON.parse(document.getElementById("data").textContent);
const UNKNOWN = "–";

/** Return the value of a coded column ({of, at}) in a row. */
const decoded = (column, row) => column.of[column.at ? column.at[row] : row];

/** Make an element; properties are set as such, `aria-*`, `data-*` and `role` as attributes. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

const SCALES = {
  s: [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]],
  bytes: [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]],
  J: [[1e3, "kJ"], [1, "J"], [1e-3, "mJ"], [1e-6, "µJ"]],
  FLOPs: [[1e15, "PFLOP"], [1e12, "TFLOP"], [1e9, "GFLOP"], [1e6, "MFLOP"], [1, "FLOP"]],
  rate: [[1e12, "Top/s"], [1e9, "Gop/s"], [1e6, "Mop/s"], [1, "op/s"]],
};

/** Write a number with a unit of `SCALES` and three digits. */
function withUnit(unit, value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return "0";
  const scales = SCALES[unit];
  const [size, name] = scales.find(([least]) => Math.abs(value) >= least * 0.9995) || scales[scales.length - 1];
  return `${Number((value / size).toPrecision(3)).toLocaleString("en-US")} ${name}`;
}
const seconds = (value) => withUnit("s", value);
const bytes = (value) => withUnit("bytes", value);
const joules = (value) => withUnit("J", value);
const percent = (value) => (value === null ? UNKNOWN : `${Number((100 * value).toPrecision(4))} %`);
const signed = (value, digits = 2) => (value === null ? UNKNOWN : (value > 0 ? "+" : "") + value.toFixed(digits));
const times = (value) => (value === null ? UNKNOWN : `${Number(value.toPrecision(3))}×`);
const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const distinct = (values) => [...new Set(values)];

/** Return the rows of columns (`columns_of`) as objects. */
function rowsOf(columns) {
  return Array.from({ length: columns.rows }, (_, row) => {
    const found = { row, key: columns.key ? columns.key[row] : "" };
    for (const [name, column] of Object.entries(columns.texts)) found[name] = decoded(column, row);
    for (const [name, column] of Object.entries(columns.numbers)) found[name] = column[row];
    return found;
  });
}
