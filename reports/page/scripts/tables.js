// Tables: search, filter by column, choose columns, export, and the record behind each row.
const BUILT = new Map();
const ROW_HEIGHT = 32;
const MAX_VISIBLE_ROWS = 14;

function startTables() {
  const hosts = [...document.querySelectorAll("[data-table]")];
  // Room for what comes: a link then leads to where it should.
  for (const host of hosts) host.style.minHeight = `${heightOf(DATA.tables[Number(host.dataset.table)]) + 84}px`;
  whenNear(hosts, (host) => buildTable(host, DATA.tables[Number(host.dataset.table)]));
  onSelection(() => {
    BUILT.forEach((built) => built.paint());
    document.querySelectorAll("[data-class]").forEach(paintClass);
  });
}

/** Highlight a field of a class where that class is chosen. */
function paintClass(made) {
  made.classList.toggle("chosen-class", chosen.class === made.dataset.class);
}

/** Call a function for each element once, when it comes near the window. */
function whenNear(hosts, make) {
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      make(entry.target);
    }
  }, { rootMargin: "600px" });
  hosts.forEach((host) => seen.observe(host));
}

const heightOf = (table) => ROW_HEIGHT * Math.min(table.rows + 1, MAX_VISIBLE_ROWS);

/** Return the axes of a cell by its name, from the records: none of a cell that has no record here. */
function axesOfCell(name) {
  if (!CELLS.size) {
    for (const record of Object.values(RECORDS.stages)) {
      if (record.axes) CELLS.set(recordText(record.cell), record.axes);
    }
  }
  const values = CELLS.get(name) || [];
  const own = RECORDS.axes.map((axis, at) => [axis, recordText(values[at])]);
  return Object.fromEntries(own.filter(([axis, value]) => AXES.includes(axis) && value !== ""));
}
const CELLS = new Map();

/** Return a row's values of the axes that can be chosen. */
function axesOfRow(table, row) {
  const axes = {};
  for (const [, text, axis] of table.shared) if (axis) axes[axis] = text;
  for (const column of table.columns) if (column.axis) axes[column.axis] = textOf(column, row);
  const cell = table.columns.find((column) => column.heading === "cell");
  if (cell && axes.compression === undefined) Object.assign(axes, axesOfCell(textOf(cell, row)));
  const names = table.columns.find((column) => column.heading === "compressions");
  if (names) Object.assign(axes, { compression: textOf(names, row), several: true });
  return axes;
}

function buildTable(host, table) {
  const rows = Array.from({ length: table.rows }, (_, i) => ({ i }));
  const elements = new Map();
  const body = element("div", { className: "grid" });
  const paintRow = (made, i) => {
    const state = isChosen(axesOfRow(table, i));
    made.classList.toggle("chosen", state === true);
    made.classList.toggle("other", state === false);
  };
  const grid = new Tabulator(body, {
    data: rows,
    columns: [opener(table), ...table.columns.map((column, at) => columnOf(column, at))],
    columnDefaults: { resizable: "header", maxInitialWidth: 300, minWidth: 56 },
    rowHeight: ROW_HEIGHT,
    height: table.rows > MAX_VISIBLE_ROWS ? `${heightOf(table)}px` : undefined,
    // Reasons come last: they take the room that is left.
    layout: table.columns.filter((column) => column.shown).pop().sort ? "fitDataFill" : "fitDataStretch",
    headerFilterLiveFilterDelay: 60,
    placeholder: "No row matches",
    rowFormatter: (row) => {
      elements.set(row.getData().i, row.getElement());
      paintRow(row.getElement(), row.getData().i);
    },
  });
  const paint = () => elements.forEach((made, i) => paintRow(made, i));
  const built = { table, grid, paint, host, rows: () => grid.getRows("active").map((row) => row.getData().i) };
  built.shown = () => table.columns.filter((_, at) => grid.getColumn(`c${at}`).isVisible());
  host.replaceChildren(toolbar(host, built), body);
  grid.on("rowClick", (event, row) => {
    if (event.target.closest("button") || String(getSelection())) return;
    openRow(table, row.getData().i);
  });
  grid.on("tableBuilt", () => {
    BUILT.set(host, built);
    host.dataset.ready = "";
    host.style.minHeight = "";
    label(body, table);
    // The library filters on keys alone: a paste by the mouse is an input too.
    body.querySelectorAll(".tabulator-header-filter input").forEach((box) => {
      const field = box.closest(".tabulator-col").getAttribute("tabulator-field");
      box.addEventListener("input", () => {
        box.dispatchEvent(new KeyboardEvent("keyup"));
        judge(box, table.columns[Number(field.slice(1))]);
      });
    });
  });
}

/** Mark a column's filter that is not understood, and say what would be. */
function judge(box, column) {
  const fault = faultOf(column, box.value);
  box.setAttribute("aria-invalid", String(fault !== ""));
  box.title = fault;
}

/** Name a table for those who hear it. A grid owns rows only: its holder is reached through their buttons. */
function label(body, table) {
  body.setAttribute("aria-label", table.title);
  const holder = body.querySelector(".tabulator-tableholder");
  if (holder) holder.removeAttribute("tabindex");
}

function opener(table) {
  return {
    field: "open", title: "", headerSort: false, width: 42, minWidth: 42, hozAlign: "center",
    titleFormatter: () => element("span", { className: "unseen", textContent: "record" }),
    formatter: (cell) => {
      const i = cell.getData().i;
      const made = element("button", { type: "button", className: "open", textContent: "⋯", "aria-label": `Open row ${i + 1}` });
      made.addEventListener("click", () => openRow(table, i));
      return made;
    },
  };
}

function ofClass(made, column) {
  if (column.of_class) {
    made.dataset.class = column.of_class;
    paintClass(made);
  }
  return made;
}

function columnOf(column, at) {
  const make = fieldMaker(column);
  return {
    field: `c${at}`,
    title: column.heading,
    visible: column.shown,
    hozAlign: column.sort ? "right" : "left",
    // A button can be reached by the keyboard; its click sorts as one on the heading does.
    titleFormatter: () => {
      const made = element("button", { type: "button", className: "heading", textContent: column.heading, title: column.heading });
      return ofClass(made, column);
    },
    formatter: (cell) => {
      return ofClass(make(cell.getData().i), column);
    },
    sorter: sorterOf(column),
    headerSortTristate: true,
    headerFilter: "input",
    headerFilterParams: { elementAttributes: { "aria-label": `Filter ${column.heading}` } },
    headerFilterFunc: (term, _, data) => passes(column, term, data.i),
  };
}

function toolbar(host, built) {
  const { table, grid } = built;
  const count = element("span", { className: "count", role: "status" });
  const show = (shown) => {
    count.textContent = shown === table.rows
      ? `${table.rows.toLocaleString("en-US")} row${table.rows === 1 ? "" : "s"}`
      : `${shown.toLocaleString("en-US")} of ${table.rows.toLocaleString("en-US")} rows`;
  };
  show(table.rows);
  grid.on("dataFiltered", (_, rows) => show(rows.length));
  const save = element("button", { type: "button", textContent: "CSV", className: "csv", title: "Save these rows and columns as CSV" });
  save.addEventListener("click", () => saveFile(`${table.name}.csv`, csvOf(table, built.shown(), built.rows())));
  const made = element("div", { className: "toolbar" }, search(table, grid));
  if (table.rows > 1) made.append(filters(host, grid));
  made.append(columnMenu(built), save, count);
  return made;
}

function search(table, grid) {
  const box = element("input", { type: "search", placeholder: "Search", "aria-label": `Search in ${table.title}` });
  let texts = null;
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) {
      grid.clearFilter(false);
      return;
    }
    const shared = table.shared.map(([, text]) => text);
    texts = texts || Array.from({ length: table.rows }, (_, row) =>
      [...shared, ...table.columns.map((column) => textOf(column, row))].join("\n").toLowerCase());
    grid.setFilter((data) => words.every((word) => texts[data.i].includes(word)));
  });
  return box;
}

function filters(host, grid) {
  const made = element("button", { type: "button", textContent: "Filter", className: "filters", "aria-pressed": "false",
    title: "Filter by column: a part of a text, or a bound as < 40 µs; without a unit, the one that most of the column has" });
  made.addEventListener("click", () => {
    const on = host.classList.toggle("filtering");
    made.setAttribute("aria-pressed", String(on));
    if (!on) grid.clearHeaderFilter();
    grid.redraw();
  });
  return made;
}

function columnMenu({ table, grid }) {
  const list = element("div", { className: "menu-list" });
  const boxes = table.columns.map((column, at) => {
    const box = element("input", { type: "checkbox", checked: column.shown });
    box.addEventListener("change", () => {
      grid[box.checked ? "showColumn" : "hideColumn"](`c${at}`);
      grid.redraw();
    });
    list.append(element("label", {}, box, ` ${shortened(column.heading, 60)}`));
    return box;
  });
  const set = (wanted) => {
    grid.blockRedraw();
    boxes.forEach((box, at) => {
      box.checked = wanted(table.columns[at]);
      grid[box.checked ? "showColumn" : "hideColumn"](`c${at}`);
    });
    grid.restoreRedraw();
    grid.redraw(true);
  };
  const all = element("button", { type: "button", textContent: "All" });
  const few = element("button", { type: "button", textContent: "Usual" });
  all.addEventListener("click", () => set(() => true));
  few.addEventListener("click", () => set((column) => column.shown));
  list.prepend(element("div", { className: "menu-buttons" }, all, few));
  const made = element("details", { className: "menu" }, element("summary", { textContent: "Columns" }), list);
  document.addEventListener("click", (event) => {
    if (!made.contains(event.target)) made.open = false;
  });
  made.addEventListener("keydown", (event) => {
    if (event.key === "Escape") made.open = false;
  });
  return made;
}
