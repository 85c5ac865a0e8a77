// What is highlighted: one value of each axis at most, in every table and chart.
const AXES = ["optimizer", "compression", "backend", "class"];
const chosen = {};
const watchers = [];

const onSelection = (watcher) => watchers.push(watcher);
const anyChosen = () => AXES.some((axis) => axis in chosen);

/** Choose a value of an axis, or give it up where it is chosen already. */
function choose(axis, value) {
  if (value === "" || chosen[axis] === value) delete chosen[axis];
  else chosen[axis] = value;
  watchers.forEach((watcher) => watcher());
}

function chooseNothing() {
  AXES.forEach((axis) => delete chosen[axis]);
  watchers.forEach((watcher) => watcher());
}

/** Choose these values and no others, or give them up where they are what is chosen. */
function highlight(axes) {
  const alike = AXES.every((axis) => chosen[axis] === axes[axis]);
  AXES.forEach((axis) => delete chosen[axis]);
  if (!alike) Object.assign(chosen, axes);
  watchers.forEach((watcher) => watcher());
}

/** Return the values that a button of a card highlights. */
const axesOfButton = (button) =>
  Object.fromEntries(AXES.filter((axis) => button.dataset[axis] !== undefined).map((axis) => [axis, button.dataset[axis]]));

/** Say whether something with these axes is highlighted: true, false, or null where the choice is not about it. */
function isChosen(axes) {
  let about = null;
  for (const axis of AXES) {
    if (!(axis in chosen) || axes[axis] === undefined || axes[axis] === null) continue;
    const alike = axis === "compression" && axes.several
      ? axes[axis].split(", ").includes(chosen[axis])
      : axes[axis] === chosen[axis];
    if (!alike) return false;
    about = true;
  }
  return about;
}

/** Return how opaque a mark with these axes is. */
const opacity = (axes) => (isChosen(axes) === false ? 0.12 : 1);

/** Return the values of an axis that the page has, in order of appearance. */
function valuesOf(axis) {
  const found = new Set();
  const points = DATA.charts.points;
  if (points && points.texts[axis]) points.texts[axis].of.forEach((value) => found.add(value));
  for (const table of DATA.tables) {
    for (const [, text, own] of table.shared) if (own === axis) found.add(text);
    for (const column of table.columns) {
      if (column.axis === axis) column.texts.of.forEach((value) => found.add(value));
      if (axis === "class" && column.of_class) found.add(column.of_class);
    }
  }
  found.delete(UNKNOWN);
  found.delete("");
  return [...found];
}

function startSelection() {
  const bar = document.getElementById("selection");
  const boxes = {};
  for (const axis of AXES) {
    const values = valuesOf(axis);
    if (values.length < 2) continue;
    const box = element("select", { id: `choose-${axis}` }, element("option", { value: "", textContent: "any" }));
    values.forEach((value) => box.append(element("option", { value, textContent: shortened(value, 60) })));
    box.addEventListener("change", () => {
      delete chosen[axis];
      choose(axis, box.value);
    });
    boxes[axis] = box;
    bar.append(element("label", {}, `${axis} `, box));
  }
  const clear = element("button", { type: "button", textContent: "Clear", id: "clear", hidden: true });
  clear.addEventListener("click", chooseNothing);
  bar.append(clear);
  bar.hidden = !Object.keys(boxes).length;
  onSelection(() => {
    for (const [axis, box] of Object.entries(boxes)) box.value = chosen[axis] || "";
    clear.hidden = !anyChosen();
    document.querySelectorAll("[data-axis]").forEach((chip) => {
      const [axis, value] = [chip.dataset.axis, chip.dataset.value];
      chip.setAttribute("aria-pressed", String(chosen[axis] === value));
    });
    document.querySelectorAll("[data-highlight]").forEach((button) => {
      const axes = axesOfButton(button);
      button.setAttribute("aria-pressed", String(AXES.every((axis) => chosen[axis] === axes[axis])));
    });
  });
  document.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-axis]");
    if (chip) choose(chip.dataset.axis, chip.dataset.value);
    const button = event.target.closest("[data-highlight]");
    if (button) highlight(axesOfButton(button));
  });
}

/** Make a button that chooses a value of an axis. */
function chip(axis, value, colour) {
  const made = element("button", {
    type: "button", className: "chip", textContent: shortened(value, 48), title: `Highlight ${axis} ${value}`,
    "data-axis": axis, "data-value": value, "aria-pressed": String(chosen[axis] === value),
  });
  if (colour) made.prepend(swatch(colour));
  return made;
}

function swatch(colour) {
  const made = element("span", { className: "swatch", "aria-hidden": "true" });
  made.style.background = colour;
  return made;
}
