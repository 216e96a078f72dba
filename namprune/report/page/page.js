// The report's page: plots that are drawn when they come into view, a table that sorts and filters, a run at a time.
"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);
const root = document.documentElement;
const data = JSON.parse(one("#data").textContent);

// ---- plots

const drawn = new Set();
const config = { displayModeBar: false, responsive: true, showTips: false };
const probe = document.body.appendChild(document.createElement("i"));
probe.hidden = true;

/** A colour of the page as the browser resolves it: plotly knows no variables. */
function themed(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** A copy of a figure in which colours such as `@ink` are those of the page now. */
function coloured(value, key = "") {
  if (Array.isArray(value)) return value.map((item) => coloured(item, key));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, coloured(item, name)]));
  }
  const ours = /color(scale)?$/.test(key) && typeof value === "string" && value.startsWith("@");
  return ours ? themed(value.slice(1)) : value;
}

function axis(given, muted) {
  const own = { automargin: true, gridcolor: "@grid", zeroline: false, linecolor: "@rule", tickcolor: "@rule" };
  return { ...own, ...given, title: { font: { size: 12, color: muted }, standoff: 12, ...given.title } };
}

function layout(figure) {
  const given = figure.layout;
  const muted = "@muted";
  const own = {
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: muted },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 26, t: 30, b: 8 },
    dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false,
    showlegend: figure.data.filter((trace) => trace.name && !trace.uid).length > 1,
    legend: { orientation: "h", x: 1, xanchor: "right", y: 1.02, yanchor: "bottom", itemclick: false, itemdoubleclick: false },
    hoverlabel: { bgcolor: "@card", bordercolor: "@rule", font: { color: "@ink", size: 12 }, align: "left", namelength: -1 },
  };
  const axes = Object.keys(given).filter((key) => /^[xy]axis/.test(key));
  const styled = Object.fromEntries(axes.map((key) => [key, axis(given[key], muted)]));
  return coloured({ ...own, ...given, ...styled });
}

/** Draw a plot, or draw it again in the colours and the width of now. */
function paint(box, width) {
  const figure = data.figures[box.dataset.figure];
  Plotly.react(box, coloured(figure.data), { ...layout(figure), width }, config);
  drawn.add(box);
  all(".key", box.parentElement).forEach((key) => swatch(key, box));
}

/** The legend shows what was drawn. */
function swatch(key, box) {
  const [trace] = key.dataset.traces.split(" ");
  const shown = one(`.trace${data.figures[box.dataset.figure].data[trace].uid}`, box);
  const [line, point] = ["path.js-line", "path.point"].map((part) => shown && one(part, shown));
  if (!point) return;
  const shapes = [[line, "M0,8H56"], [point, point.getAttribute("d"), "translate(28,8)"]];
  const parts = shapes.filter(([from]) => from).map(([from, path, move]) => {
    const copy = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const style = from.getAttribute("style");
    copy.setAttribute("style", from === line ? style : style.replace(/fill: [^;]+/, `fill: ${from.style.stroke}`));
    copy.setAttribute("d", path);
    if (move) copy.setAttribute("transform", move);
    return copy;
  });
  one(".swatch", key).replaceChildren(...parts);
}

const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      if (drawn.has(target)) Plotly.Plots.resize(target);
      else paint(target);
    }
  },
  { rootMargin: "200px" },
);
all(".plot").forEach((box) => seen.observe(box));

for (const key of all(".key")) {
  key.addEventListener("click", () => {
    const on = key.getAttribute("aria-pressed") !== "true";
    const box = one(".plot", key.closest("figure"));
    key.setAttribute("aria-pressed", on);
    for (const trace of key.dataset.traces.split(" ")) data.figures[box.dataset.figure].data[trace].visible = on;
    paint(box);
  });
}

for (const group of all(".segments")) {
  group.addEventListener("change", ({ target }) => {
    for (const input of all("input", group)) document.getElementById(input.value).hidden = input !== target;
  });
}

for (const details of all(".numbers")) {
  details.addEventListener("toggle", () => {
    if (one("table", details)) return;
    const { columns, rows } = data.tables[details.dataset.table];
    const table = document.createElement("table");
    const row = (section, name, cells) => {
      const line = section.insertRow();
      for (const text of cells) line.appendChild(document.createElement(name)).textContent = text;
    };
    row(table.createTHead(), "th", columns);
    const body = table.createTBody();
    for (const cells of rows) row(body, "td", cells);
    const scroll = details.appendChild(document.createElement("div"));
    scroll.className = "scroll";
    scroll.tabIndex = 0;
    scroll.append(table);
  });
}

// ---- light, dark, paper

const dark = matchMedia("(prefers-color-scheme: dark)");
const paper = matchMedia("print");
const theme = one("#theme");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);

function restyle() {
  one("span", theme).textContent = isDark() ? "Light" : "Dark";
  for (const box of drawn) if (box.offsetParent) paint(box);
  for (const box of [...drawn]) if (!box.offsetParent) drawn.delete(box);
}

theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  restyle();
});
dark.addEventListener("change", restyle);
paper.addEventListener("change", () => {
  // A4 within its margins; the plots of what is printed are there, seen before or not
  for (const box of all(".plot")) if (box.offsetParent) paint(box, paper.matches ? Math.min(box.clientWidth, 640) : undefined);
});
restyle();

// ---- the tables

/** What a cell is sorted by: its number, its words, or null for no number. */
function sortKey(row, column) {
  const { sort } = row.cells[column].dataset;
  if (sort === undefined) return row.cells[column].textContent.trim();
  return sort === "" ? null : Number(sort);
}

function ordered(a, b) {
  return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
}

for (const table of all("table.grid")) {
  const heads = all("th", table);
  heads.forEach((head, column) => {
    one("button", head).addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].map((row) => [sortKey(row, column), row]);
      // rows without a number stay last either way
      rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * ordered(a, b)));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

const search = one("#search");

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const pressed = { attention: new Set(), kind: new Set() };
  for (const { dataset } of all('.chip[aria-pressed="true"]')) pressed[dataset.key].add(dataset.value);
  const rows = all("#grid tbody tr");
  for (const row of rows) {
    const text = `${row.textContent} ${row.dataset.find}`.toLowerCase();
    const chosen = Object.entries(pressed).every(([key, values]) => !values.size || values.has(row.dataset[key]));
    row.hidden = !chosen || !words.every((word) => text.includes(word));
  }
  one("#count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
}

if (search) search.addEventListener("input", filter);
for (const chip of all(".chip")) {
  chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
    filter();
  });
}

// ---- one run at a time

const choose = one("#choose");
const runs = all(".run");

function show(run) {
  for (const other of runs) other.classList.toggle("shown", other === run);
  choose.value = run.id.replace("run-", "");
}

/** Show the run that the address names, and go there. */
function follow() {
  const run = runs.find(({ id }) => `#${id}` === location.hash);
  if (!run) return;
  show(run);
  run.scrollIntoView();
  run.focus({ preventScroll: true });
}

function step(by) {
  const { options, selectedIndex } = choose;
  choose.selectedIndex = (selectedIndex + by + options.length) % options.length;
  show(document.getElementById(`run-${choose.value}`));
  history.replaceState(null, "", `#run-${choose.value}`); // else a link to the run left behind leads nowhere
}

if (runs.length) {
  show(runs.find(({ dataset }) => dataset.cut === "nam") ?? runs.find(({ dataset }) => dataset.cut) ?? runs[0]);
  choose.addEventListener("change", () => step(0));
  one("#previous").addEventListener("click", () => step(-1));
  one("#next").addEventListener("click", () => step(1));
  addEventListener("hashchange", follow);
  follow();
}
