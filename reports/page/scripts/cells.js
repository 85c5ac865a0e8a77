// What a field of a table shows: its text, its interval on hover and as a bar.

const textOf = (column, row) => decoded(column.texts, row);
const detailOf = (column, row) => (column.details ? decoded(column.details, row) : "");

/** Return where the intervals of a column lie, as a function from a number to a share of the cell's width. */
function barScale(column) {
  if (!column.low) return null;
  const known = [...column.low, ...column.high].filter((value) => value !== null && Math.abs(value) < 1e300);
  const [least, most] = [Math.min(...known), Math.max(...known)];
  if (!known.length || (least === most && least <= 0)) return null;
  const log = least > 0 && most / least > 20;
  const at = log ? Math.log : (value) => value;
  // From zero where the numbers have one sign: a bar then also tells how large the value is.
  const [from, to] = [least > 0 && !log ? 0 : at(least), at(most)];
  return (value) => (at(value) - from) / (to - from);
}

function bar(low, high, scale) {
  const [from, to] = [scale(low), scale(high)];
  const mark = element("i");
  mark.style.left = `${100 * from}%`;
  mark.style.width = `max(3px, ${100 * (to - from)}%)`;
  return element("span", { className: "interval", "aria-hidden": "true" }, mark);
}

/** Return a function that makes the content of a column's field in a row. */
function fieldMaker(column) {
  const scale = barScale(column);
  return (row) => {
    const [text, detail] = [textOf(column, row), detailOf(column, row)];
    const mark = column.marks ? column.marks[row] : "";
    const made = column.axis && text !== UNKNOWN && text !== ""
      ? chip(column.axis, text)
      : element("span", { textContent: text });
    made.classList.add("field");
    if (mark) made.classList.add(mark);
    if (column.mono) made.classList.add("mono");
    if (detail || text.length > 24) made.title = detail ? `${text}\n${detail}` : text;
    const [low, high] = column.low ? [column.low[row], column.high[row]] : [null, null];
    if (scale === null || low === null || high === null) return made;
    return element("span", { className: "with-interval", title: made.title }, made, bar(low, high, scale));
  };
}

/** Return how two rows of a column are ordered: by numbers where it has them; what is unknown comes last. */
function sorterOf(column) {
  const numbers = column.sort;
  return (a, b, rowA, rowB, _, direction) => {
    const [first, second] = [rowA.getData().i, rowB.getData().i];
    const last = direction === "desc" ? -1 : 1;
    if (numbers) {
      const [x, y] = [numbers[first], numbers[second]];
      if (x === null || y === null) return ((x === null) - (y === null)) * last;
      return x - y;
    }
    const [x, y] = [textOf(column, first), textOf(column, second)];
    const unknown = (text) => text === UNKNOWN || text === "";
    if (unknown(x) || unknown(y)) return (unknown(x) - unknown(y)) * last;
    return x.localeCompare(y, "en", { numeric: true });
  };
}
