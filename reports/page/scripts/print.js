// In print, tables are plain: the columns that show, and the first rows.
const MAX_PRINTED_ROWS = 200;

function printedTable(table, columns, rows) {
  const head = element("tr", {}, ...columns.map((column) => element("th", { scope: "col", textContent: column.heading })));
  const body = element("tbody");
  for (const row of rows.slice(0, MAX_PRINTED_ROWS)) {
    body.append(element("tr", {}, ...columns.map((column) => element("td", { textContent: textOf(column, row) }))));
  }
  const made = element("div", { className: "printed" }, element("table", {}, element("thead", {}, head), body));
  if (rows.length > MAX_PRINTED_ROWS) {
    made.append(element("p", { textContent: `The first ${MAX_PRINTED_ROWS} of ${rows.length.toLocaleString("en-US")} rows.` }));
  }
  return made;
}

function preparePrint(before) {
  before();
  document.querySelectorAll("main details:not(.menu)").forEach((each) => Object.assign(each, { open: true }));
  document.querySelectorAll(".printed").forEach((made) => made.remove());
  for (const host of document.querySelectorAll("[data-table]")) {
    const built = BUILT.get(host);
    const table = DATA.tables[Number(host.dataset.table)];
    const columns = built ? built.shown() : table.columns.filter((column) => column.shown);
    const rows = built ? built.rows() : Array.from({ length: table.rows }, (_, row) => row);
    host.after(printedTable(table, columns, rows));
  }
}

/** Make a page ready whenever it is printed, after what else is to be done `before`. */
function startPrint(before) {
  addEventListener("beforeprint", () => preparePrint(before));
  matchMedia("print").addEventListener("change", (event) => {
    if (event.matches) preparePrint(before);
  });
}
