// Charts: drawn when they come near, and again when the choice, the theme or the width changes.
const HOSTS = new Map();

function startCharts() {
  const hosts = [...document.querySelectorAll("[data-chart]")];
  whenNear(hosts, makeChart);
  const resized = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const made = HOSTS.get(target);
      if (made && Math.abs(made.width - contentRect.width) > 4) made.draw();
    }
  });
  hosts.forEach((host) => resized.observe(host));
  onSelection(redrawAll);
}

const redrawAll = () => HOSTS.forEach((made) => made.draw());

function drawAll() {
  for (const host of document.querySelectorAll("[data-chart]")) if (!HOSTS.has(host)) makeChart(host);
}

/** Set a chart up: a heading, a box for each thing to choose, the drawing, a legend of chips. */
function makeChart(host) {
  const kind = CHARTS[host.dataset.chart];
  const rows = kind.rows();
  const fixed = host.dataset.workload === undefined ? {} : { workload: workloadOf(host) };
  const state = {};
  const head = element("div", { className: "chart-head" }, element("h3", { textContent: kind.title }));
  const drawing = element("div");
  const legend = element("div", { className: "legend" });
  const caption = element("figcaption", { textContent: kind.caption + (OF_POINTS.has(kind.rows) ? leftOut() : "") });
  host.replaceChildren(head, drawing, legend, caption);
  const made = { width: 0, draw };
  const boxes = boxesOf(kind, state, draw);
  head.append(...Object.entries(boxes).filter(([name]) => !(name in fixed)).map(([, { box }]) => box));
  HOSTS.set(host, made);
  draw();

  function draw() {
    made.width = host.clientWidth;
    const left = picked(rows, boxes, state, fixed);
    const drawn = left.length ? kind.draw(left, Math.max(260, made.width), state) : null;
    drawing.replaceChildren(drawn || element("p", { className: "soft", textContent: kind.nothing || "Nothing was measured." }));
    drawLegend(legend, kind, drawn ? left : []);
    host.dataset.ready = "";
  }
}

/** Make a box for each thing to choose in a chart; `values` are its options, without them those of the rows. */
function boxesOf(kind, state, draw) {
  return Object.fromEntries((kind.choose || []).map((name) => {
    const box = element("select", { "aria-label": `${kind.title}: ${name}` });
    box.addEventListener("change", () => {
      state[name] = box.value;
      draw();
    });
    return [name, { box, values: kind.values ? kind.values[name] : undefined }];
  }));
}

/** Return the rows that are chosen, box by box, and set what each box offers then. */
function picked(rows, boxes, state, fixed) {
  let left = rows;
  for (const [name, { box, values }] of Object.entries(boxes)) {
    const options = values || distinct(left.map((row) => row[name]));
    const wanted = name in fixed ? fixed[name] : state[name];
    const usual = values ? options[0] : commonest(left, name);
    state[name] = name in fixed || options.includes(wanted) ? wanted : usual;
    offer(box, name, options);
    if (state[name] !== undefined) box.value = state[name];
    if (!values) left = left.filter((row) => row[name] === state[name]);
  }
  return left;
}

function offer(box, name, options) {
  const offered = JSON.stringify(options);
  if (box.dataset.options === offered) return;
  box.dataset.options = offered;
  box.replaceChildren(...options.map((each) => element("option", { value: each, textContent: optionText(name, each) })));
  box.hidden = options.length < 2;
}

/** Return the value that most rows have: where a run has much on one workload, that shows first. */
function commonest(rows, name) {
  const counts = d3.rollup(rows, (own) => own.length, (row) => row[name]);
  return d3.greatest(counts.keys(), (value) => counts.get(value));
}

/** Name the workload of a card's chart; names come from the data, as attributes may be long. */
function workloadOf(host) {
  return host.closest(".card").getAttribute("aria-label");
}

const optionText = (name, value) =>
  (name === "batch_size" ? `batch ${value}` : name === "cost" ? COSTS[value].label : shortened(value, 60));

function drawLegend(legend, kind, rows) {
  if (!kind.legend) {
    legend.replaceChildren(...(kind.swatches ? kind.swatches(rows) : []));
    return;
  }
  legend.replaceChildren(...kind.legend.flatMap((axis, at) =>
    distinct(rows.map((row) => row[axis])).map((value) => {
      const made = chip(axis, value, at === 0 ? colourOf(axis, value) : "");
      if (axis === "backend") made.prepend(element("span", { className: "glyph", "aria-hidden": "true", textContent: GLYPHS[symbolOf(value)] }));
      return made;
    })));
}

const points = () => rowsOf(DATA.charts.points);
const withSpeedup = () => points().filter((row) => row.speedup > 0 && row.loss !== null);
const withRate = () => points().filter((row) => row.intensity > 0 && row.rate > 0);
const withCost = () => (FRONTS.size > 1 ? points() : []);
const OF_POINTS = new Set([points, withSpeedup, withRate, withCost]);

/** Say how many points are not drawn, if any. */
function leftOut() {
  const { rows, total } = DATA.charts.points;
  const counts = [rows, total].map((count) => count.toLocaleString("en-US"));
  return rows < total ? ` Drawn are ${counts[0]} of ${counts[1]} points: the front, and the fastest of what differs only in its training.` : "";
}

// The costs that were measured, each with the rows on its front.
const FRONTS = new Map(Object.entries(DATA.charts.points ? DATA.charts.points.front : {}).map(([cost, rows]) => [cost, new Set(rows)]));
const isOnFront = (row, cost) => FRONTS.has(cost) && FRONTS.get(cost).has(row.row);
const money = (value) => `${Number(value.toPrecision(3)).toLocaleString("en-US")} ${DATA.charts.points.currency}`.trim();
const COSTS = {
  latency: { label: "latency", format: seconds },
  size: { label: "compressed size", format: bytes },
  memory: { label: "peak resident memory", format: bytes },
  energy: { label: `energy of a call${DATA.charts.points && DATA.charts.points.estimated ? " (estimate)" : ""}`, format: joules },
  money: { label: "price of a million samples", format: money },
};
const withFill = (row) => colourOf("compression", row.compression);

function quality(rows, width, { x }) {
  const { label, format } = COSTS[x];
  const front = rows.filter((row) => isOnFront(row, x)).sort((a, b) => a[x] - b[x]);
  const known = rows.filter((row) => row[x] > 0);
  if (!known.length) return null;
  const [least, most] = widened(d3.extent(known, (row) => row[x]));
  const ticks = format === bytes ? byteTicks([least, most]) : logTicks([least, most], narrow(width) ? 4 : 7);
  const marks = [
    Plot.ruleX(known, { x, y1: "quality_low", y2: "quality_high", stroke: withFill, strokeOpacity: (row) => 0.5 * opacity(row) }),
  ];
  marks.push(Plot.line(front, { x, y: "quality", curve: "step-after", stroke: "currentColor", strokeOpacity: 0.6, strokeDasharray: "4 3" }));
  if (x === "latency") {
    marks.push(
      Plot.link(known.filter((row) => row.low !== null), { x1: "low", x2: "high", y1: "quality", y2: "quality", stroke: withFill, strokeOpacity: (row) => 0.6 * opacity(row), strokeWidth: 2 }),
    );
  }
  marks.push(
    Plot.dot(known, { x, y: "quality", fill: withFill, symbol: (row) => symbolOf(row.backend), r: 4.5, fillOpacity: opacity, stroke: "var(--back)", strokeWidth: 0.7 }),
  );
  if (front.length && !narrow(width)) marks.push(...frontLabels(front, x));
  marks.push(pointer(known, { x, y: "quality" }, aboutPoint));
  return opening(plotted(width, {
    height: 330, marginLeft: 58, marginRight: 24, marginTop: 26, ariaLabel: label,
    x: { type: "log", label: `${label} →`, ticks, tickFormat: format, grid: true, domain: reach(known, x, [least, most]) },
    y: { label: "↑ quality", tickFormat: percent, grid: true, nice: true },
    symbol: { type: "identity" }, color: { type: "identity" }, marks,
  }), nameOf);
}

/** Return bounds that are apart: an interval of a single value would fill a chart as if it were wide. */
const widened = ([least, most]) => (most / least < 1.5 ? [least / 1.3, most * 1.3] : [least, most]);

/** Return the bounds of an axis that has the points and, of latencies, their intervals. */
function reach(rows, x, [least, most]) {
  const ends = x === "latency" ? rows.flatMap((row) => [row.low, row.high]).filter((value) => value > 0) : [];
  return [Math.min(least, ...ends), Math.max(most, ...ends)];
}

/** Name a few points of the front directly: those that are far enough from the one before, each name once. */
function frontLabels(front, x) {
  const named = [];
  for (const point of front) {
    const before = named[named.length - 1];
    const apart = !before || Math.log(point[x] / before[x]) > 0.35;
    if (apart && !named.some((other) => other.compression === point.compression)) named.push(point);
  }
  const middle = Math.sqrt(front[0][x] * front[front.length - 1][x]);
  return [false, true].map((right) => Plot.text(named.slice(0, 5).filter((row) => front.length > 1 && row[x] > middle === right), {
    x, y: "quality", text: (row) => shortened(row.compression, 22), dy: -11, textAnchor: right ? "end" : "start", dx: right ? 4 : -4,
    stroke: "var(--back)", strokeWidth: 4, fill: "currentColor", fillOpacity: opacity,
  }));
}

/** Sort rows of horizontal bars and give each a label that no other has. */
function labelled(rows, text, most) {
  const seen = new Map();
  return rows.slice(0, most).map((row) => {
    const full = text(row);
    const count = (seen.get(full) || 0) + 1;
    seen.set(full, count);
    return { ...row, label: count > 1 ? `${full} (${count})` : full };
  });
}
const leftOf = (rows, width) => Math.min(narrow(width) ? 150 : 230, 20 + 7 * Math.max(...rows.map((row) => Math.min(36, row.label.length))));
const labelTick = (width) => (text) => shortened(text, narrow(width) ? 20 : 36);

function latencies(rows, width) {
  // Trainings whose models are alike share a timing: it is drawn once.
  const timing = (row) => row.key.split(" ")[0];
  const once = [...d3.group(rows, timing).values()].map(([first]) => first);
  const sorted = labelled(once.sort((a, b) => a.latency - b.latency), (row) => `${row.compression} · ${row.backend}${row.precision === "fp32" ? "" : ` ${row.precision}`}`, MAX_BARS);
  const every = sorted.flatMap((row) => [row.low, row.high, row.p99, row.p90, row.latency].filter(Boolean));
  return withRest(sorted.length, once.length, "fastest", opening(plotted(width, {
    height: 60 + 19 * sorted.length, marginLeft: leftOf(sorted, width), marginRight: 24, ariaLabel: "Latency by compression and backend",
    x: { type: "log", label: "latency →", ticks: logTicks(every, narrow(width) ? 3 : 6), tickFormat: seconds, grid: true },
    y: { label: null, domain: sorted.map((row) => row.label), tickFormat: labelTick(width) },
    color: { type: "identity" },
    marks: [
      Plot.ruleY(sorted.filter((row) => row.p90), { y: "label", x1: "latency", x2: (row) => row.p99 || row.p90, stroke: withFill, strokeOpacity: (row) => 0.45 * opacity(row) }),
      Plot.tickX(sorted.filter((row) => row.p90), { y: "label", x: "p90", stroke: withFill, strokeOpacity: opacity, inset: 5 }),
      Plot.tickX(sorted.filter((row) => row.p99), { y: "label", x: "p99", stroke: withFill, strokeOpacity: opacity, inset: 3 }),
      Plot.ruleY(sorted.filter((row) => row.low !== null), { y: "label", x1: "low", x2: "high", stroke: withFill, strokeWidth: 5, strokeOpacity: (row) => 0.5 * opacity(row) }),
      Plot.dot(sorted, { y: "label", x: "latency", fill: withFill, r: 4, fillOpacity: opacity }),
      pointer(sorted, { x: "latency", y: "label" }, aboutPoint),
    ],
  }), nameOf));
}

function lossAgainstSpeed(known, width) {
  return opening(plotted(width, {
    height: 330, marginLeft: 52, marginRight: 24, marginTop: 26, ariaLabel: "Quality lost against speedup",
    x: { type: "log", label: "speedup vs none on cpu-eager →", ticks: logTicks(known.map((row) => row.speedup), 6), tickFormat: times, grid: true },
    y: { label: "↑ quality lost (points)", reverse: false, grid: true, nice: true },
    symbol: { type: "identity" }, color: { type: "identity" },
    marks: [
      Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.4 }),
      Plot.ruleY([1], { stroke: "var(--bad)", strokeDasharray: "5 4" }),
      Plot.text([1], { y: 1, frameAnchor: "right", text: () => "the bound: 1 point", dy: -7, fill: "var(--bad)" }),
      Plot.ruleX([1], { stroke: "currentColor", strokeOpacity: 0.4 }),
      Plot.dot(known, { x: "speedup", y: "loss", fill: withFill, symbol: (row) => symbolOf(row.backend), r: 4.5, fillOpacity: opacity, stroke: "var(--back)", strokeWidth: 0.7 }),
      pointer(known, { x: "speedup", y: "loss" }, aboutPoint),
    ],
  }), nameOf);
}

function roofline(known, width, { batch_size }) {
  const ceilings = DATA.charts.ceilings || [];
  const xs = known.map((row) => row.intensity);
  const ridge = ceilings.map(({ rate, bytes: moved }) => rate / moved);
  const [least, most] = [Math.min(...xs, ...ridge) / 2, Math.max(...xs, ...ridge) * 2];
  const lines = ceilings.flatMap((each) => [least, each.rate / each.bytes, most]
    .map((x) => ({ x, y: Math.min(each.rate, x * each.bytes), format: each.format })));
  const about = (row) => `${aboutPoint(row)}\n${withUnit("rate", row.rate)}, ${row.intensity.toPrecision(3)} operations per byte`;
  return opening(plotted(width, {
    height: 330, marginLeft: 74, marginRight: 46, marginTop: 26, ariaLabel: `Roofline, batch ${batch_size}`,
    x: { type: "log", label: "operations per byte (estimate) →", ticks: logTicks([least, most], 6), tickFormat: (value) => `${Number(value.toPrecision(3))}`, grid: true },
    y: { type: "log", label: "↑ operations per second", ticks: logTicks([...known.map((row) => row.rate), ...lines.map((point) => point.y)], 7), tickFormat: (value) => withUnit("rate", value), grid: true },
    symbol: { type: "identity" }, color: { type: "identity" },
    marks: [
      Plot.line(lines, { x: "x", y: "y", z: "format", stroke: "currentColor", strokeOpacity: 0.55 }),
      Plot.text(lines.filter(({ x }) => x === most), { x: "x", y: "y", text: "format", dx: 5, textAnchor: "start" }),
      Plot.dot(known, { x: "intensity", y: "rate", fill: withFill, symbol: (row) => symbolOf(row.backend), r: 4.5, fillOpacity: opacity, stroke: "var(--back)", strokeWidth: 0.7 }),
      pointer(known, { x: "intensity", y: "rate" }, about),
    ],
  }), nameOf);
}
