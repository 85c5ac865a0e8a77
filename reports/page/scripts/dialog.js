// The record behind a row or a point: its fields, launches as a strip plot, validity, why, how to repeat it.

const RECORDS = DATA.records;
const recordText = (place) => (place === undefined ? "" : RECORDS.texts[place]);

function startDialog() {
  const dialog = document.getElementById("record");
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.getElementById("record-close").addEventListener("click", () => dialog.close());
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-record]");
    if (button) openRecord(button.dataset.record, button.dataset.title || "Record");
  });
}

function showDialog(title, ...content) {
  const dialog = document.getElementById("record");
  document.getElementById("record-title").textContent = title;
  document.getElementById("record-body").replaceChildren(...content);
  if (!dialog.open) dialog.showModal();
  document.getElementById("record-body").scrollTop = 0;
}

/** Open a row of a table: all of its fields, then the records of its stages. */
function openRow(table, row) {
  const list = element("dl", { className: "fields" });
  const title = [];
  for (const [heading, text] of table.shared) addField(list, heading, text, "");
  for (const column of table.columns) {
    const [text, detail] = [textOf(column, row), detailOf(column, row)];
    if (column.axis && text) title.push(text);
    if (column.heading !== "record" && (text !== "" || detail) && text !== UNKNOWN) addField(list, column.heading, text, detail);
  }
  const keys = keysOfRow(table, row);
  showDialog(title.join(" · ") || table.title, ...sectionsOf(keys), element("section", {}, element("h3", { textContent: "All fields of the row" }), list));
}

function keysOfRow(table, row) {
  const column = table.columns.find((each) => each.heading === "record");
  const words = column ? textOf(column, row).split(" ") : [];
  // What was timed comes first: it has the launches.
  return words.filter((_, at) => at % 2).reverse();
}

/** Open the records of stages, by the beginnings of their keys, joined by spaces. */
function openRecord(keys, title) {
  const sections = sectionsOf(keys.split(" "));
  showDialog(title, ...(sections.length ? sections : [element("p", { textContent: "No record of this run." })]));
}

// What is of one cell alone comes first: its command repeats that very cell.
const OF_ONE_CELL = ["evaluate", "lower", "compress", "train", "generate", "infer", "step"];

function sectionsOf(keys) {
  const made = keys.map(stageSection).filter(Boolean);
  const own = keys.filter((key) => RECORDS.stages[key])
    .sort((a, b) => OF_ONE_CELL.indexOf(RECORDS.stages[a].kind) - OF_ONE_CELL.indexOf(RECORDS.stages[b].kind));
  return own.length ? [...made, ...repeatOf(RECORDS.stages[own[0]])] : made;
}

function addField(list, name, text, detail) {
  const value = element("dd", { textContent: text });
  if (detail) value.append(element("span", { className: "detail", textContent: detail }));
  list.append(element("dt", { textContent: name }), value);
}

function stageSection(key) {
  const record = RECORDS.stages[key];
  if (!record) return null;
  const list = element("dl", { className: "fields" });
  const [launches, good, disturbed] = record.launches;
  addField(list, "stage", `${record.kind} ${key}`, recordText(record.label));
  addField(list, "state", record.state, recordText(record.reason));
  addField(list, "launches", `${launches}, ${good} ended well, ${disturbed} disturbed`, "");
  if (record.last_line !== undefined) addField(list, "last line of output", recordText(record.last_line), "");
  if (record.method !== undefined) {
    addField(list, "interval", recordText(record.method), record.preliminary ? "preliminary" : "");
  }
  if (record.why !== undefined) addField(list, "why", recordText(record.why), "");
  if (record.kernels !== undefined) addField(list, "kernels that ran", recordText(record.kernels), "");
  const made = element("section", { className: "stage" }, element("h3", { textContent: record.kind }));
  if (record.values && record.values.length) made.append(stripPlot(record));
  made.append(list, command("All of the record", `bench show ${key} --run ${quoted(DATA.run)}`));
  return made;
}

/** Draw one dot a launch over the interval of them all. */
function stripPlot(record) {
  const values = record.values.map((value, launch) => ({ value, launch }));
  const marks = [];
  if (record.low !== null && record.high !== null) {
    marks.push(Plot.rect([record], { x1: "low", x2: "high", y1: -1, y2: 1, fill: "var(--good)", fillOpacity: 0.18 }));
  }
  marks.push(
    Plot.ruleX([record.value], { stroke: "var(--good)", strokeWidth: 2 }),
    Plot.dot(values, { x: "value", y: ({ launch }) => ((launch * 7) % 5 - 2) / 3.5, r: 4, fill: "currentColor", fillOpacity: 0.7,
      title: ({ value, launch }) => `launch ${launch + 1}: ${seconds(value)}` }),
  );
  const drawn = asPicture(Plot.plot({
    width: Math.min(560, innerWidth - 70), height: 90, marginTop: 8, marginLeft: 30, marginRight: 30,
    ariaLabel: "Median of each launch",
    x: { tickFormat: seconds, ticks: 4, label: null, nice: true }, y: { axis: null, domain: [-1, 1] }, marks,
  }));
  return element("figure", { className: "strip" }, drawn, element("figcaption", {
    textContent: `One dot a launch (its median); line: ${seconds(record.value)}` +
      (record.low === null ? ", no interval" : `, band: 95 % interval, ${seconds(record.low)} to ${seconds(record.high)}`),
  }));
}

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`);

const command = (name, text) => element("p", { className: "command" }, `${name}: `, element("code", { textContent: text }));

/** Say how the cell of a record is measured again, or which file it is from. */
function repeatOf(record) {
  const { before, after, imported } = RECORDS.repeat;
  if (imported) return [command("Imported", imported)];
  if (!record.axes) return [];
  const filter = RECORDS.axes.map((axis, at) => `${axis}=${recordText(record.axes[at])}`).join(",");
  return [command("Measure it again", `${before} ${quoted(filter)} ${after}`)];
}
