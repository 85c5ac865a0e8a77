// Units of tables: what a bound such as `< 40 µs` means in the numbers behind a column's texts.

/** Unit → how many of its base unit it is, and that base unit, in which the numbers are. */
const UNITS = new Map([
  ...[["s", 1], ["ms", 1e-3], ["µs", 1e-6], ["us", 1e-6], ["ns", 1e-9], ["min", 60], ["h", 3600]].map(([unit, size]) => [unit, [size, "s"]]),
  ...[["B", 1], ["KB", 1e3], ["MB", 1e6], ["GB", 1e9], ["KiB", 2 ** 10], ["MiB", 2 ** 20], ["GiB", 2 ** 30], ["TiB", 2 ** 40]]
    .flatMap(([unit, size]) => [[unit, [size, "B"]], [`${unit}/s`, [size, "B/s"]]]),
  ...[["", 1], ["k", 1e3], ["M", 1e6], ["G", 1e9], ["T", 1e12], ["P", 1e15]]
    .flatMap(([prefix, size]) => [[`${prefix}FLOP`, [size, "FLOP"]], [`${prefix}op/s`, [size, "op/s"]]]),
  ...[["mJ", 1e-3], ["J", 1], ["kJ", 1e3], ["Wh", 3600], ["kWh", 3.6e6]].map(([unit, size]) => [unit, [size, "J"]]),
  ["%", [0.01, "share"]], ["×", [1, "times"]], ["x", [1, "times"]],
  ["points", [1, ""]], ["pts", [1, ""]], ["k", [1e3, ""]], ["M", [1e6, ""]], ["G", [1e9, ""]],
]);

// Whatever is typed in: the Greek mu for the micro sign, other capitals, a plural.
const plain = (unit) => unit.replaceAll("\u03bc", "\u00b5").toLowerCase().replace(/(?<=flop)s$/, "");
const PLAIN_UNITS = new Map([...UNITS].map(([unit, known]) => [plain(unit), known]));

// A number as tables write it, then its unit: `≥ 35.1 µs†`, `93.20 ± 0.4 %`, `4.31×`, `> 1,200`, `5 of 6`.
const WRITTEN = /^[≥>~\s]*[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?: ± [\d.e+-]+)?(?:\s*([^\s†±(]+)(?=†|\s*$|\s*±|\s*\())?/i;

/** Return the unit that most of a column's texts have, empty for none: null where no text is a number. */
function usualUnit(column) {
  if (column.usual === undefined) {
    const counts = new Map();
    for (const found of column.texts.of.map((text) => WRITTEN.exec(text))) {
      if (found) counts.set(found[1] || "", (counts.get(found[1] || "") || 0) + 1);
    }
    column.usual = [...counts].reduce((most, each) => (each[1] > most[1] ? each : most), [null, 0])[0];
  }
  return column.usual;
}

/** Return the unit of the numbers behind a column's texts, empty where it has none. */
function baseUnit(column) {
  const usual = usualUnit(column) || "";
  return UNITS.has(usual) ? UNITS.get(usual)[1] : usual;
}

/** Return how many of the column's base unit a unit is, by default its usual one; undefined of another kind. */
function sizeOf(column, typed) {
  const unit = typed || usualUnit(column) || "";
  const known = UNITS.get(unit) || PLAIN_UNITS.get(plain(unit));
  if (known && (known[1] === baseUnit(column) || known[1] === "")) return known[0];
  // Tables never scale other units, as `samples/s`: the numbers are as they are written.
  return plain(unit) === plain(usualUnit(column) || "") ? 1 : undefined;
}

const BOUND = /^\s*(<=?|>=?|=)\s*([-+]?[\d.,]+(?:e[-+]?\d+)?)\s*(.*?)\s*$/i;

/** Return how many digits a bound has, at least as many as tables show. */
const digitsOf = (text) => Math.min(12, Math.max(3, text.replace(/e.*$/i, "").replace(/\D/g, "").replace(/^0+/, "").length));

/** Read what was typed into a column's filter: a sign and a bound in the column's numbers, or null. */
function boundOf(column, term) {
  const found = column.sort && BOUND.exec(term);
  if (!found) return null;
  const size = sizeOf(column, found[3]);
  const limit = Number(found[2].replaceAll(",", "")) * (size === undefined ? NaN : size);
  // 40 × 1e-6 is a hair below 40e-6.
  return { sign: found[1], limit: Number(limit.toPrecision(12)), digits: digitsOf(found[2]) };
}

/** Say what is wrong with what was typed into a column's filter; empty if nothing is. */
function faultOf(column, term) {
  const bound = boundOf(column, term);
  if (!bound || !Number.isNaN(bound.limit)) return "";
  return `not understood: a bound is as < 40${usualUnit(column) ? ` ${usualUnit(column)}` : ""}`;
}

/** Say whether a row passes a column's filter: `< 40 µs`, `>= 90 %`, or a part of the text. What is typed after `=` is
 * compared with a number as it shows. */
function passes(column, term, row) {
  const bound = boundOf(column, term);
  if (!bound) return textOf(column, row).toLowerCase().includes(term.trim().toLowerCase());
  const { sign, limit, digits } = bound;
  const value = column.sort[row];
  if (value === null || Number.isNaN(limit)) return false;
  const alike = value.toPrecision(digits) === limit.toPrecision(digits);
  return { "<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit, "=": alike }[sign];
}
