// What charts share: colours, sizes, and that a click opens the record of a point.

// Okabe & Ito (2008) without black and yellow, then Paul Tol's muted: distinct to colour-blind readers.
const PALETTE = [
  "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6a5acd", "#b0426f",
  "#999933", "#2f8a4a", "#AA4499", "#5ba8d0", "#44AA99", "#a3541c", "#6699CC", "#b8a13a",
];
const COLOURS = {};

/** Return the colour of a value of an axis: the same in every chart. */
function colourOf(axis, value) {
  COLOURS[axis] = COLOURS[axis] || new Map(valuesOf(axis).map((name, at) => [name, PALETTE[at % PALETTE.length]]));
  if (!COLOURS[axis].has(value)) COLOURS[axis].set(value, PALETTE[COLOURS[axis].size % PALETTE.length]);
  return COLOURS[axis].get(value);
}

const SYMBOLS = ["circle", "square", "triangle", "diamond", "star", "wye", "cross"];
const GLYPHS = { circle: "●", square: "■", triangle: "▲", diamond: "◆", star: "★", wye: "Y", cross: "✚" };
const symbolOf = (backend) => SYMBOLS[Math.max(0, valuesOf("backend").indexOf(backend)) % SYMBOLS.length];

const narrow = (width) => width < 520;

/** Bars of a chart: more would be a list, which the table is. */
const MAX_BARS = 30;

/** Say under a drawing how many of its bars it shows, where it does not show all. */
function withRest(shown, all, which, drawn) {
  if (shown === all) return drawn;
  const text = `The ${which} ${shown} of ${all.toLocaleString("en-US")}; the table has all.`;
  return element("div", {}, drawn, element("p", { className: "soft", textContent: text }));
}

/** Draw with what all charts have in common. */
function plotted(width, options) {
  const drawn = Plot.plot({
    width,
    ...(options.x && options.x.axis !== "top" ? { marginBottom: 42 } : {}),
    style: { background: "transparent", color: "var(--text)", fontSize: "12px", fontFamily: "inherit", overflow: "visible" },
    ...options,
    x: options.x && options.x.label ? { labelOffset: 38, ...options.x } : options.x,
  });
  return asPicture(drawn);
}

/** Make a drawing one picture to those who hear it: its parts have names that only programmers know. */
function asPicture(drawn) {
  const svg = drawn.matches("svg") ? drawn : drawn.querySelector("svg");
  svg.setAttribute("role", "img");
  for (const part of svg.querySelectorAll("g[aria-label]")) {
    part.dataset.mark = part.getAttribute("aria-label");
    part.removeAttribute("aria-label");
  }
  svg.querySelectorAll("[aria-description]").forEach((part) => part.removeAttribute("aria-description"));
  return drawn;
}

/** A label that follows the pointer, and opens the record of its point when clicked. */
const pointer = (rows, channels, title) =>
  Plot.tip(rows, Plot.pointer({ ...channels, title, fill: "var(--back)", stroke: "var(--line)", textPadding: 6, maxRadius: 30 }));

/** Let a click on a point open its record. */
function opening(svg, title) {
  svg.addEventListener("click", () => {
    if (svg.value && svg.value.key) openRecord(svg.value.key, title(svg.value));
  });
  svg.classList.add("opens");
  return svg;
}

const nameOf = (point) => `${point.compression} on ${point.backend} (${point.precision})`;

function aboutPoint(point) {
  const interval = point.low === null ? "no interval" : `${seconds(point.low)} to ${seconds(point.high)}`;
  return [
    nameOf(point), `trained with ${point.optimizer}`,
    `latency ${seconds(point.latency)} (${interval})`,
    `quality ${percent(point.quality)}, loss ${signed(point.loss)} points`,
    `${times(point.speedup)} none on cpu-eager; ${bytes(point.size)} compressed`,
    ...["memory", "energy", "money"].filter((cost) => point[cost] > 0).map((cost) => `${COSTS[cost].label} ${COSTS[cost].format(point[cost])}`),
    "click for its record",
  ].join("\n");
}

/** Ticks of an axis of bytes from zero, in one unit. */
function byteAxis(most) {
  const [size, name] = SCALES.bytes.find(([unit]) => most >= 3 * unit) || [1, "B"];
  return { ticks: d3.ticks(0, most / size, 5).map((tick) => tick * size), tickFormat: (value) => `${(value / size).toLocaleString("en-US")} ${name}` };
}

/** Ticks of a logarithmic axis of bytes: powers of two, or what lies between where it has hardly any. */
function byteTicks([least, most]) {
  const powers = d3.range(Math.ceil(Math.log2(least)), Math.floor(Math.log2(most)) + 1).map((power) => 2 ** power);
  const [size] = SCALES.bytes.find(([unit]) => most >= 3 * unit) || [1];
  return powers.length < 2 ? d3.ticks(least / size, most / size, 4).map((tick) => tick * size) : thinned(powers, 6);
}

const thinned = (ticks, most) => ticks.filter((_, at) => at % Math.ceil(ticks.length / most) === 0);

/** Ticks of a logarithmic axis within its values: few, however wide; evenly where it is narrow. */
function logTicks(values, most) {
  const [least, greatest] = d3.extent(values.filter((value) => value > 0));
  if (greatest / least < 5) return d3.ticks(least, greatest, Math.min(most, 5));
  const steps = greatest / least < 60 ? [1, 2, 5] : [1];
  const powers = d3.range(Math.floor(Math.log10(least)), Math.ceil(Math.log10(greatest)) + 1);
  const found = powers.flatMap((power) => steps.map((step) => step * 10 ** power));
  return thinned(found.filter((tick) => tick >= least && tick <= greatest), most);
}
