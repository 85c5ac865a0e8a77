// Charts of training and of the whole matrix.

const PART_COLOURS = {
  data: "#E69F00", forward: "#56B4E9", backward: "#0072B2", optimizer: "#D55E00",
  weights: "#0072B2", gradients: "#56B4E9", "optimizer state": "#D55E00", activations: "#009E73",
};

function curves(rows, width, { x, y }) {
  const flat = rows.flatMap((row) => row.step.map((step, at) => ({
    ...row, ofStep: step, at: x === "steps" ? step : x === "seconds" ? row.seconds[at] : row.flops === null ? null : step * row.flops,
    value: (y === "loss" ? row.loss : row.quality)[at],
  }))).filter((point) => point.at !== null && point.at !== undefined && point.value !== null && point.value !== undefined);
  if (!flat.length) return null;
  const ends = rows.map((row) => flat.filter((point) => point.key === row.key).pop()).filter(Boolean);
  const named = ends.filter((end, at) => ends.findIndex((other) => other.optimizer === end.optimizer) === at);
  const format = { steps: undefined, seconds, FLOPs: (value) => withUnit("FLOPs", value) }[x];
  const about = (point) => `${point.optimizer}, seed ${point.seed}\nstep ${point.ofStep.toLocaleString("en-US")}${format ? `, ${format(point.at)}` : ""}\n` +
    `${y} ${y === "loss" ? point.value.toPrecision(3) : percent(point.value)}`;
  const targets = y === "quality" ? distinct(rows.map((row) => row.target)).filter((target) => target !== null) : [];
  return opening(plotted(width, {
    height: 330, marginLeft: 54, marginRight: narrow(width) ? 70 : 96, marginTop: 26, ariaLabel: `Training curves: ${y} against ${x}`,
    x: { label: `${x} →`, tickFormat: format, ticks: narrow(width) ? 4 : 7, grid: true },
    y: { label: `↑ ${y === "loss" ? "training loss" : "quality in validation"}`, tickFormat: y === "loss" ? undefined : percent, grid: true },
    color: { type: "identity" },
    marks: [
      Plot.ruleY(targets, { stroke: "currentColor", strokeDasharray: "5 4", strokeOpacity: 0.7 }),
      Plot.text(targets, { y: (target) => target, text: (target) => `target ${percent(target)}`, frameAnchor: "left", dy: -7, dx: 4 }),
      Plot.line(flat, { x: "at", y: "value", z: "key", stroke: (row) => colourOf("optimizer", row.optimizer), strokeOpacity: opacity, strokeWidth: 1.6 }),
      Plot.text(apart(named), { x: "at", y: "value", text: (row) => shortened(row.optimizer, narrow(width) ? 9 : 14), dx: 6, textAnchor: "start", fill: (row) => colourOf("optimizer", row.optimizer), fillOpacity: opacity }),
      pointer(flat, { x: "at", y: "value" }, about),
    ],
  }), (point) => point.optimizer);
}

/** Leave out labels that would stand on the one above. */
function apart(ends) {
  const sorted = [...ends].sort((a, b) => b.value - a.value);
  const reach = (sorted[0].value - sorted[sorted.length - 1].value) || 1;
  const kept = [];
  for (const end of sorted) if (!kept.length || kept[kept.length - 1].value - end.value > 0.05 * reach) kept.push(end);
  return kept;
}

function toTarget(rows, width, { x }) {
  const value = x === "seconds" ? "time" : "steps";
  const known = rows.filter((row) => row[value] !== null);
  if (!known.length) return null;
  // What missed the target would have taken longer: where half of the seeds did, there is no median.
  const every = d3.rollups(rows, (own) => d3.median(own, (row) => (row.missed || row[value] === null ? Infinity : row[value])), (row) => row.label)
    .map(([label, middle]) => ({ label, middle })).filter(({ middle }) => Number.isFinite(middle)).sort((a, b) => a.middle - b.middle);
  const all = distinct([...every.map((each) => each.label), ...known.map((row) => row.label)]);
  const order = all.slice(0, MAX_BARS);
  const [medians, shown] = [every, known].map((own) => own.filter((row) => order.includes(row.label)));
  const format = x === "seconds" ? seconds : (number) => number.toLocaleString("en-US");
  const about = (row) => `${row.label}, seed ${row.seed}\n${row.missed ? "did not reach the target after" : "target after"} ${format(row[value])}${x === "steps" ? " steps" : ""}`;
  return withRest(order.length, all.length, "fastest", opening(plotted(width, {
    height: 60 + 24 * order.length, marginLeft: leftOf(order.map((label) => ({ label })), width), marginRight: 30, ariaLabel: "Time to target by optimizer",
    x: { type: "log", label: `${x} to target →`, ticks: logTicks(shown.map((row) => row[value]), narrow(width) ? 3 : 6), tickFormat: format, grid: true },
    y: { label: null, domain: order, tickFormat: labelTick(width) },
    color: { type: "identity" }, symbol: { type: "identity" },
    marks: [
      Plot.tickX(medians, { x: "middle", y: "label", stroke: "currentColor", strokeWidth: 2, inset: 4 }),
      Plot.dot(shown, { x: value, y: "label", r: 4.5, symbol: (row) => (row.missed ? "times" : "circle"), stroke: (row) => colourOf("optimizer", row.optimizer), fill: (row) => (row.missed ? "none" : colourOf("optimizer", row.optimizer)), fillOpacity: opacity, strokeOpacity: opacity }),
      pointer(shown, { x: value, y: "label" }, about),
    ],
  }), (row) => row.label));
}

/** Stack parts of each optimizer: seconds of a step, or bytes of its peak. */
function stacked(unit, label) {
  return (rows, width) => {
    const every = rows.map((row) => ({ ...row, label: row.optimizer + (distinct(rows.map((each) => each.batch)).length > 1 ? ` · batch ${row.batch}` : "") }));
    const all = distinct(every.map((row) => row.label));
    const order = all.slice(0, MAX_BARS);
    const bars = every.filter((row) => order.includes(row.label));
    const longest = d3.max(d3.rollup(bars, (own) => d3.sum(own, (row) => row.value), (row) => row.label).values());
    return withRest(order.length, all.length, "first", plotted(width, {
      height: 60 + 24 * order.length, marginLeft: leftOf(bars, width), marginRight: 30, ariaLabel: label,
      x: {
        label: `${label} →`, grid: true, ticks: narrow(width) ? 3 : 6, tickFormat: (value) => withUnit(unit, value),
        ...(unit === "bytes" ? byteAxis(longest) : {}),
      },
      y: { label: null, domain: order, tickFormat: labelTick(width) },
      color: { type: "identity" },
      marks: [
        Plot.barX(bars, { x: "value", y: "label", fill: (row) => PART_COLOURS[row.part] || "#8a8a8a", fillOpacity: opacity, inset: 1, order: null,
          title: (row) => `${row.optimizer}: ${row.part} ${withUnit(unit, row.value)}` }),
        Plot.ruleX([0]),
      ],
    }));
  };
}
const partSwatches = (rows) => distinct(rows.map((row) => row.part))
  .map((part) => element("span", { className: "soft" }, swatch(PART_COLOURS[part] || "#8a8a8a"), part));

/** Draw a value for each compression and column, named in its cell. */
function heat(rows, width, { x, label, value, text, pivot, log, scheme }) {
  const columns = distinct(rows.map((row) => row[x]));
  const order = distinct(rows.map((row) => row.compression)).map((name) => ({ label: name }));
  const isKnown = (row) => row[value] !== null && row[value] !== undefined;
  const known = rows.filter(isKnown).map((row) => row[value]);
  const reach = Math.max(log ? 1.5 : 0.5, ...known.map((each) => (log ? Math.max(each, 1 / each) : Math.abs(each))));
  const colour = { type: log ? "diverging-log" : "diverging", pivot, domain: log ? [1 / reach, reach] : [-reach, reach], scheme };
  const scale = Plot.scale({ color: colour });
  const ink = (row) => (!isKnown(row) ? "var(--soft)" : d3.lab(scale.apply(row[value])).l > 55 ? "#111" : "#fff");
  const left = leftOf(order, width);
  // A cell has room for its state: of many columns, the chart scrolls sideways.
  const whole = Math.max(width, left + 54 * columns.length);
  const room = (whole - left) / columns.length;
  const slanted = columns.some((name) => 7 * Math.min(24, name.length) > room);
  const top = slanted ? 84 : 44;
  const drawn = plotted(whole, {
    height: top + 26 + 22 * order.length, marginLeft: left, marginTop: top, marginRight: slanted ? 30 : 4, ariaLabel: label, padding: 0.04,
    x: { axis: "top", label: null, domain: columns, tickRotate: slanted ? -32 : 0, tickFormat: (name) => shortened(name, slanted ? 16 : 24) },
    y: { label: null, domain: order.map((row) => row.label), tickFormat: labelTick(width) },
    color: colour,
    marks: [
      Plot.cell(rows.filter(isKnown), { x, y: "compression", fill: value, fillOpacity: opacity, stroke: "var(--line)", title: text }),
      Plot.text(rows, { x, y: "compression", text: (row) => shortened(text(row).split("\n")[0], Math.max(3, Math.floor(room / 6.5))), fill: ink, fillOpacity: opacity, fontSize: 11 }),
    ].map((mark, at) => (at ? unscaled(mark) : mark)).concat(
      Plot.cell(rows.filter((row) => !isKnown(row)), { x, y: "compression", fill: "none", stroke: "var(--line)", title: text, pointerEvents: "all" }),
    ),
  });
  return element("div", { className: "scrolls", tabIndex: whole > width ? 0 : -1 }, drawn);
}
/** Keep the colours of a text as they are given: the colour scale is that of the cells. */
function unscaled(mark) {
  if (mark.channels.fill) mark.channels.fill.scale = null;
  return mark;
}

function stateText(row) {
  return `${row.speedup === null ? row.worst || "ok" : times(row.speedup)}\n${row.compression} on ${row.backend}\n${row.states}`;
}

const CHARTS = {
  "quality-latency": {
    title: "Quality against latency", rows: points, choose: ["workload", "batch_size"], legend: ["compression", "backend"],
    caption: "Up and left is better. Dashed: the Pareto front. Bars: 95 % interval of the latency, range of the quality over seeds. The shape tells the backend.",
    draw: (rows, width) => quality(rows, width, { x: "latency" }),
  },
  latency: {
    title: "Latency, fastest first", rows: points, choose: ["workload", "batch_size"],
    caption: "Dot: median over launches; thick: its 95 % interval; ticks: p90 and p99 where n supports them.",
    draw: latencies,
  },
  "loss-speedup": {
    title: "What speed costs in quality", rows: withSpeedup, choose: ["workload", "batch_size"], legend: ["compression"],
    nothing: "No valid cell has a speedup: it is against the uncompressed model on cpu-eager.",
    caption: "Down and right is better. Dashed: the bound within which a compression is recommended.",
    draw: lossAgainstSpeed,
  },
  "quality-cost": {
    title: "Quality against another cost", rows: withCost, choose: ["workload", "batch_size", "cost"], legend: ["compression"],
    values: { cost: [...FRONTS.keys()].filter((cost) => cost !== "latency") },
    caption: "Up and left is better. Dashed: the Pareto front. Compressed size: that of the artifact as downloaded.",
    draw: (rows, width, { cost }) => quality(rows, width, { x: cost }),
  },
  roofline: {
    title: "Roofline", rows: withRate, choose: ["workload", "batch_size"], legend: ["compression"],
    nothing: "No valid cell has a count of its operations and of the bytes that it moves.",
    caption: "Lines: what the machine was measured to do at most, by number format (Williams, Waterman & Patterson 2009).",
    draw: roofline,
  },
  curves: {
    title: "Training curves", rows: () => DATA.charts.curves, choose: ["workload", "x", "y"], legend: ["optimizer"],
    values: { x: ["steps", "seconds", "FLOPs"], y: ["quality", "loss"] },
    caption: "One line a seed. Seconds leave evaluation out; FLOPs are those of forward, backward and optimizer.",
    draw: curves,
  },
  target: {
    title: "To the target", rows: () => rowsOf(DATA.charts.target), choose: ["workload", "x"], legend: ["optimizer"],
    values: { x: ["seconds", "steps"] },
    caption: "One mark a seed, the tick is their median: none where half of them missed. × did not reach the target in its budget.",
    draw: toTarget,
  },
  matrix: {
    title: "The matrix", rows: () => rowsOf(DATA.charts.matrix), choose: ["workload", "batch_size", "precision"],
    caption: "Best speedup over the uncompressed model on cpu-eager; what has none shows its state.",
    draw: (rows, width) => heat(rows, width, { x: "backend", label: "Speedup by compression and backend", value: "speedup", text: stateText, pivot: 1, log: true, scheme: "PuOr" }),
  },
  parts: {
    title: "Time of a training step", rows: () => DATA.charts.parts, choose: ["workload"], swatches: partSwatches,
    caption: "Parts as measured in a pass of their own.", draw: stacked("s", "time of a step"),
  },
  memory: {
    title: "Memory at the peak of a training step", rows: () => DATA.charts.memory, choose: ["workload"], swatches: partSwatches,
    caption: "What the tensors hold at the peak.", draw: stacked("bytes", "bytes of tensors"),
  },
  classes: {
    title: "Change in recall by class (points)", rows: () => DATA.charts.classes, choose: ["workload"],
    caption: "Against the uncompressed model on the same backend, the first of the run.",
    draw: (rows, width) => heat(rows, width, {
      x: "class", label: "Change in recall by class", value: "change", pivot: 0, log: false, scheme: "PuOr",
      text: (row) => `${signed(row.change, 1)}\n${row.compression}, ${row.class}`,
    }),
  },
};
