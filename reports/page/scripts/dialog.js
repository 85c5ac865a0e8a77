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

/** Draw a row a launch over the interval of them all: its samples faintly, its median as a dot. */
function stripPlot(record) {
  const values = record.values.map((value, launch) => ({ value, launch }));
  const samples = (record.samples || []).flatMap((own, launch) => own.map((value) => ({ value, launch })));
  const marks = [];
  if (record.low !== null && record.high !== null) {
    marks.push(Plot.rect([record], { x1: "low", x2: "high", y1: -0.5, y2: values.length - 0.5, fill: "var(--good)", fillOpacity: 0.18 }));
  }
  marks.push(
    Plot.ruleX([record.value], { stroke: "var(--good)", strokeWidth: 2 }),
    Plot.dot(samples, { x: "value", y: "launch", r: 2.5, fill: "currentColor", fillOpacity: 0.25 }),
    Plot.dot(values, { x: "value", y: "launch", r: 4.5, fill: "currentColor", stroke: "var(--back)",
      title: ({ value, launch }) => `launch ${launch + 1}: ${seconds(value)}` }),
  );
  const drawn = asPicture(Plot.plot({
    width: Math.min(660, innerWidth - 70), height: 50 + 14 * values.length, marginTop: 8, marginLeft: 30, marginRight: 30,
    style: { background: "transparent", color: "var(--text)", fontFamily: "inherit" },
    ariaLabel: samples.length ? "Samples of each launch, and their median" : "Median of each launch",
    x: { tickFormat: seconds, ticks: 4, label: null, nice: true }, y: { axis: null, domain: [values.length - 0.5, -0.5] }, marks,
  }));
  return element("figure", { className: "strip" }, drawn, element("figcaption", { textContent: aboutStrip(record, samples.length > 0) }));
}

function aboutStrip(record, hasSamples) {
  const counts = distinct(record.of || []).map((count) => count.toLocaleString("en-US"));
  const picked = hasSamples && Math.max(...record.of) > record.samples[0].length
    ? `; faint: ${record.samples[0].length} of its samples (${counts.length > 2 ? `${counts[0]} and other counts` : counts.join(" or ")}), evenly picked in their order`
    : "; faint: its samples";
  const interval = record.low === null ? "no interval" : `band: 95 % interval, ${seconds(record.low)} to ${seconds(record.high)}`;
  return `A row a launch; dot: its median${hasSamples ? picked : ""}. Line: ${seconds(record.value)}, ${interval}.`;
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
