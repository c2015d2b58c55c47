"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Tables: a click on a header sorts by it, up and then down; text in the field filters the rows.

const UNITS = { "µs": 1e-6, ms: 1e-3, s: 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** The number with which a cell begins, in its unit; null where it begins with none. */
function numberOf(text) {
  const found = /^[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?/i.exec(text);
  if (!found) return null;
  const unit = /^\s*([^\s[(]+)/.exec(text.slice(found[0].length));
  return Number(found[0].replaceAll(",", "")) * ((unit && UNITS[unit[1]]) || 1);
}

/** Numbers before text, and empty cells and dashes at the end whichever the direction. */
function order(one, other, direction) {
  const rank = (cell) => (cell.text === "" || cell.text === "–" ? 2 : cell.number === null ? 1 : 0);
  if (rank(one) !== rank(other)) return rank(one) - rank(other);
  const difference = one.number !== null ? one.number - other.number : one.text.localeCompare(other.text);
  return direction * difference;
}

function sort(table, header) {
  const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const column = header.cellIndex;
  const rows = [...table.tBodies[0].rows].map((row) => {
    const text = row.cells[column].textContent.trim();
    return { row, text, number: numberOf(text) };
  });
  rows.sort((one, other) => order(one, other, direction));
  table.tBodies[0].append(...rows.map((each) => each.row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
}

/** Shows the rows that have every word, each as a part of some cell. */
function filter(box) {
  const words = box.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...box.querySelector("tbody").rows];
  let shown = 0;
  for (const row of rows) {
    const text = [...row.cells].map((cell) => cell.textContent).join("\n").toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  const of = words.length ? `${shown} of ${rows.length}` : `${rows.length}`;
  box.querySelector("[data-count]").textContent = `${of} row${rows.length === 1 ? "" : "s"}`;
}

for (const box of all("[data-table]")) {
  box.querySelector("input").addEventListener("input", () => filter(box));
  for (const button of all("[data-sort]", box))
    button.addEventListener("click", () => sort(button.closest("table"), button.closest("th")));
}
for (const cell of all("td")) if (cell.textContent.length > 60) cell.className = "long";

// Figures: enlarged in a dialog, and saved as they are drawn on white, with title and caption.

const DRAWN = JSON.parse(document.getElementById("drawn").textContent);

/** The whole SVG as text, its colours those of light. */
function svgText(svg) {
  const whole = svg.cloneNode(true);
  whole.setAttribute("viewBox", svg.dataset.whole);
  const [, , width, height] = svg.dataset.whole.split(" ");
  whole.setAttribute("width", `${width}pt`);
  whole.setAttribute("height", `${height}pt`);
  for (const name of ["data-whole", "role", "aria-labelledby", "aria-describedby"]) whole.removeAttribute(name);
  for (const told of all(".told", whole)) told.removeAttribute("class");
  const text = new XMLSerializer().serializeToString(whole);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${text.replace(/var\(--c([0-9a-f]{6})\)/g, "#$1")}\n`;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function savePng(svg, name) {
  const [, , width, height] = svg.dataset.whole.split(" ").map(Number);
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    const scale = 2 * (96 / 72);  // two pixels for each that it has on a screen
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(blob, name), "image/png");
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText(svg))}`;
}

const SAVE = {
  svg: (svg, key) => save(new Blob([svgText(svg)], { type: "image/svg+xml" }), `${key}.svg`),
  png: (svg, key) => savePng(svg, `${key}.png`),
  csv: (svg, key) => save(new Blob([DRAWN[key]], { type: "text/csv" }), `${key}.csv`),
};

const dialog = document.querySelector("dialog");
const enlarged = dialog.querySelector("[data-enlarged]");
let home = null;

/** The drawing itself goes into the dialog and back, for a copy would have its ids a second time. */
function enlarge(figure) {
  home = figure.querySelector(".drawing");
  home.style.minHeight = `${home.offsetHeight}px`;
  dialog.querySelector("h2").textContent = home.getAttribute("aria-label");
  enlarged.append(home.querySelector("svg"));
  dialog.showModal();
}
dialog.addEventListener("close", () => {
  home.append(enlarged.querySelector("svg"));
  home.style.minHeight = "";
});
dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());

for (const figure of all("[data-figure]")) {
  const svg = figure.querySelector("svg");
  figure.querySelector("[data-enlarge]").addEventListener("click", () => enlarge(figure));
  for (const button of all("[data-save]", figure))
    button.addEventListener("click", () => SAVE[button.dataset.save](svg, figure.dataset.figure));
}

// Light and dark: what the system says, unless the button was pressed here before.

const root = document.documentElement;
const themeButton = document.getElementById("theme");
function showTheme(theme) {
  root.dataset.theme = theme;
  themeButton.setAttribute("aria-pressed", String(theme === "dark"));
}
showTheme(root.dataset.theme);
themeButton.addEventListener("click", () => {
  showTheme(root.dataset.theme === "dark" ? "light" : "dark");
  try { localStorage.setItem("gsbench-theme", root.dataset.theme); } catch { /* not allowed: not remembered */ }
});

// On paper everything is open.
let opened = [];
addEventListener("beforeprint", () => {
  opened = all("details:not([open])");
  for (const fold of opened) fold.open = true;
});
addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });

// Folded sections: a link to one opens it.

function reveal() {
  const id = decodeURIComponent(location.hash.slice(1));
  for (let part = id && document.getElementById(id); part; part = part.parentElement)
    if (part.tagName === "DETAILS") part.open = true;
}
addEventListener("hashchange", reveal);
reveal();
