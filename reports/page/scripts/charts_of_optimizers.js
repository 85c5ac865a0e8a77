// Charts of optimizers over workloads and over settings. Their names may leave the settings out: those are no values
// that can be highlighted.
let optimizerNames = null;
const isAxisValue = (name) => (optimizerNames = optimizerNames || new Set(valuesOf("optimizer"))).has(name);
const faint = (row) => (isAxisValue(row.optimizer) ? opacity(row) : 1);
const optimizerSwatches = (name) => (rows) => [...new Map(rows.map((row) => [row[name], row])).values()].map((row) => {
  const colour = colourOf("optimizer", row[name]);
  return isAxisValue(row[name]) ? chip("optimizer", row[name], colour) : element("span", { className: "soft" }, swatch(colour), shortened(row[name], 48));
});

function profiles(rows, width) {
  const { measure, workloads } = rows[0];
  const flat = rows.flatMap((row) => row.tau.map((tau, at) => ({ ...row, at: tau, value: row.share[at] })));
  const about = (row) => `${row.optimizer}\nwithin ${times(row.at)} the best on ${percent(row.value)} of ${workloads} workloads\n` +
    `score ${row.score.toFixed(2)}${row.score_low === null ? "" : ` (${row.score_low.toFixed(2)} to ${row.score_high.toFixed(2)})`}`;
  return plotted(width, {
    height: 330, marginLeft: 54, marginRight: 24, marginTop: 26, ariaLabel: `Performance profile: ${measure} to the target`,
    x: { type: "log", label: `${measure} to the target, times the best →`, ticks: narrow(width) ? [1, 2, 4] : [1, 1.5, 2, 2.5, 3, 4], tickFormat: times, grid: true },
    y: { label: "↑ workloads", domain: [0, 1], tickFormat: percent, grid: true },
    color: { type: "identity" },
    marks: [
      Plot.line(flat, { x: "at", y: "value", z: "optimizer", curve: "step-after", stroke: (row) => colourOf("optimizer", row.optimizer), strokeOpacity: faint, strokeWidth: 2 }),
      pointer(flat, { x: "at", y: "value" }, about),
    ],
  });
}

function sensitivity(rows, width, { setting, y }) {
  const value = y === "steps to target" ? "steps" : "quality";
  const known = rows.filter((row) => row[value] !== null);
  const missed = value === "steps" ? rows.filter((row) => row.steps === null && row.budget !== null) : [];
  if (!known.length && !missed.length) return null;
  const stroke = (row) => colourOf("optimizer", row.label);
  const height = [...known.map((row) => row[value]), ...missed.map((row) => row.budget)];
  const about = (row) => `${row.label}\n${setting} ${Number(row.value.toPrecision(3))}\n` +
    (row.steps === null ? `missed the target in ${row.budget.toLocaleString("en-US")} steps` : `target after ${row.steps.toLocaleString("en-US")} steps`) +
    `\n${row.reached} of ${row.seeds} seeds reached it, quality ${percent(row.quality)}`;
  const targets = value === "quality" ? distinct(rows.map((row) => row.target)).filter((target) => target !== null) : [];
  return plotted(width, {
    height: 330, marginLeft: 60, marginRight: 24, marginTop: 26, ariaLabel: `Sensitivity: ${y} over ${setting}`,
    x: { type: "log", label: `${setting === "lr" ? "learning rate" : setting} →`, ticks: logTicks(rows.map((row) => row.value), narrow(width) ? 4 : 8), tickFormat: (number) => `${Number(number.toPrecision(3))}`, grid: true },
    y: value === "steps"
      ? { type: "log", label: "↑ steps to the target", ticks: logTicks(height, 6), tickFormat: (number) => number.toLocaleString("en-US"), grid: true }
      : { label: "↑ final quality", tickFormat: percent, grid: true, nice: true },
    color: { type: "identity" },
    marks: [
      Plot.ruleY(targets, { stroke: "currentColor", strokeDasharray: "5 4", strokeOpacity: 0.7 }),
      Plot.line(known, { x: "value", y: value, z: "label", sort: "value", stroke, strokeOpacity: faint, strokeWidth: 1.8 }),
      Plot.dot(known, { x: "value", y: value, r: 4, fill: stroke, fillOpacity: faint }),
      Plot.dot(missed, { x: "value", y: "budget", r: 4, symbol: "times", stroke, strokeOpacity: faint }),
      pointer(known, { x: "value", y: value }, about),
    ],
  });
}

Object.assign(CHARTS, {
  profile: {
    title: "Performance profile", rows: () => DATA.charts.profile, swatches: optimizerSwatches("optimizer"),
    caption: "Height: the share of workloads on which an optimizer needs at most so many times the best one there (Dolan & Moré 2002). The score is the area under the line.",
    draw: profiles,
  },
  sensitivity: {
    title: "Sensitivity", rows: () => DATA.charts.sensitivity, choose: ["workload", "setting", "y"], swatches: optimizerSwatches("label"),
    values: { y: ["steps to target", "final quality"] },
    caption: "Medians over seeds. × at the budget: half of the seeds or more missed the target.",
    draw: sensitivity,
  },
});
