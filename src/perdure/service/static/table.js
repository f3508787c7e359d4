// Learn the rows of a CSV file: each is answered first, then learned.

import { postLines } from "./api.js";
import { showLines } from "./chart.js";
import { CsvParser, numberColumns, pieces, separatorOf, valueOf } from "./csv.js";
import { $, fill, h, percent, several, whole } from "./dom.js";
import { isFor, kindOf, offerModel, openCreate, safeName } from "./models.js";

const BATCH = 64; // rows of a request
const SAMPLE = 200; // rows by which columns are told apart
const SHOWN_ERRORS = 50;
let app, file = null, names = [], numeric = [], sample = [], separator = ",", run = null, drawn = 0;

export function init(given) {
  app = given;
  $("file").addEventListener("change", () => { if ($("file").files[0]) open($("file").files[0]); });
  const drop = $("drop");
  drop.addEventListener("dragover", () => drop.classList.add("over"));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
  $("table-start").addEventListener("click", start);
  $("table-pause").addEventListener("click", pause);
}

export const show = () => refresh();
export const modelChanged = () => refresh();

function refresh() {
  if (!app.model || app.part !== "table") return;
  offerModel($("table-other"), app, "table", isFor(app.model, "table"));
  $("table-start").disabled = !isFor(app.model, "table");
}

async function open(given) {
  const parser = [];
  let text = "";
  try {
    for await (const [piece] of pieces(given)) {
      text += piece;
      if (text.length > 200_000) break;
    }
  } catch { app.say(`${given.name} cannot be read.`, { bad: true }); return; }
  text = text.replace(/^\uFEFF/, "");
  separator = separatorOf(text);
  parser.push(...new CsvParser(separator).push(`${text}\n`).slice(0, SAMPLE + 1));
  if (parser.length < 2) { app.say(`${given.name} has no rows. A table needs a line with the names of its columns, and rows below it.`, { bad: true }); return; }
  file = given;
  [names, sample] = [parser[0].map((it, n) => it.trim() || `column ${n + 1}`), parser.slice(1)];
  const twice = names.find((it, n) => names.indexOf(it) !== n);
  if (twice) { app.say(`Two columns of ${given.name} are called “${twice}”. Give each a name of its own.`, { bad: true }); return; }
  numeric = numberColumns(names, sample);
  run = null;
  $("table-body").hidden = false;
  $("drop").classList.add("small");
  $("table-figures").hidden = true;
  $("table-name").textContent = file.name;
  fill($("preview"), h("thead", {}, h("tr", {}, ...names.map((it, n) => h("th", { scope: "col" }, it, h("span", { class: "soft" }, numeric[n] ? "number" : "text"))))),
    h("tbody", {}, ...sample.slice(0, 5).map((row) => h("tr", {}, ...names.map((_, n) => h("td", {}, row[n] ?? ""))))));
  const classes = ["class", "label", "target", "species", "y", "outcome"];
  const guess = names.find((it) => classes.includes(it.toLowerCase())) ?? names.at(-1);
  fill($("label"), ...names.map((it) => h("option", { value: it, selected: it === guess }, it)));
  $("table-progress").value = 0;
  $("table-status").textContent = `${several(names.length, "column")}. Choose what is to be predicted.`;
  refresh();
  if (kindOf(app.model) === "drawings") openCreate(app, "table", safeName(file.name));
}

function pause() {
  if (!run) return;
  run.paused = !run.paused;
  $("table-pause").textContent = run.paused ? "Go on" : "Pause";
  if (!run.paused) run.resume?.();
}

async function start() {
  const own = { label: $("label").value, rows: 0, known: 0, learned: 0, right: 0, curve: [], recent: [], classes: new Map(), errors: [], nErrors: 0, paused: false };
  run = own;
  $("table-start").hidden = $("drop").hidden = true;
  $("label").disabled = true;
  $("table-pause").hidden = false;
  $("table-pause").textContent = "Pause";
  $("table-figures").hidden = false;
  fill($("table-columns"), ...names.filter((it) => it !== own.label).map((it) => h("li", {}, it, h("span", { class: "soft" }, numeric[names.indexOf(it)] ? " number" : " text"))));
  try {
    await stream(own, await nameOf(file));
    const again = own.known ? ` ${several(own.known, "row")} had been learned before and were passed over.` : "";
    $("table-status").textContent = `Done: ${several(own.learned, "row")} learned.${again}`;
  } catch (error) {
    $("table-status").textContent = `Stopped after ${several(own.rows, "row")}. Learn the file again to go on: rows that are known are passed over.`;
    app.fail(error);
  } finally {
    $("table-start").hidden = $("drop").hidden = false;
    $("label").disabled = false;
    $("table-pause").hidden = true;
    showRun(own);
    app.refresh().catch((error) => app.fail(error));
  }
}

/** Return a name for a file by what it holds, so that a row that is sent twice is learned once. */
async function nameOf(given) {
  const ends = [given.slice(0, 65_536), given.slice(-65_536)];
  let hash = 2166136261;
  for (const part of [new TextEncoder().encode(`${given.size}`), ...(await Promise.all(ends.map(async (it) => new Uint8Array(await it.arrayBuffer()))))])
    for (const byte of part) hash = Math.imul(hash ^ byte, 16777619);
  return `${safeName(given.name)}-${(hash >>> 0).toString(16)}`;
}

async function stream(own, fileName) {
  const parser = new CsvParser(separator), at = names.indexOf(own.label);
  const regression = Boolean(app.model.settings?.regression), path = `/v1/models/${app.model.name}/learn`;
  let waiting = [], first = true, numbered = 0;
  const send = async (bytes) => {
    while (own.paused) await new Promise((done) => { own.resume = done; });
    const sent = waiting.splice(0, BATCH);
    count(own, sent, await postLines(path, sent.map((it) => it.example)));
    $("table-progress").value = bytes / Math.max(file.size, 1);
    $("table-status").textContent = `${several(own.rows, "row")} so far…`;
    showRun(own);
  };
  for await (const [text, bytes] of pieces(file)) {
    const rows = parser.push(first ? text.replace(/^\uFEFF/, "") : text);
    if (first && rows.length) { rows.shift(); first = false; }
    if (bytes === file.size && text === "") rows.push(...parser.finish());
    for (const row of rows) {
      numbered += 1;
      const x = Object.fromEntries(names.map((it, n) => [it, valueOf(row[n], numeric[n])]).filter((_, n) => n !== at));
      const y = valueOf(row[at], regression);
      if (row.length !== names.length) { passOver(own, numbered, `it has ${several(row.length, "value")}, expected ${names.length}`); continue; }
      if (y === null) { passOver(own, numbered, `it has no ${own.label}`); continue; }
      waiting.push({ number: numbered, example: { x, y, id: `${fileName}:${numbered}` } });
    }
    while (waiting.length >= BATCH) await send(bytes);
  }
  while (waiting.length) await send(file.size);
  $("table-progress").value = 1;
}

function passOver(own, number, why) {
  own.nErrors += 1;
  if (own.errors.length < SHOWN_ERRORS) own.errors.push([number, why]);
}

function count(own, sent, answers) {
  for (const it of sent) if (!own.classes.has(it.example.y)) own.classes.set(it.example.y, it.number);
  let [learned, right] = [0, 0];
  for (const it of answers) {
    [learned, right] = [learned + it.learned, right + it.right];
    own.known += it.known;
    own.nErrors += it.n_refused ?? 0;
    for (const one of it.refused ?? []) if (own.errors.length < SHOWN_ERRORS) own.errors.push([sent[one.line - 1].number, one.detail.replace(/^row \d+, /, "")]);
  }
  own.rows += sent.length;
  own.learned += learned;
  own.right += right;
  if (!learned) return;
  own.recent.push([learned, right]);
  const last = own.recent.slice(-4).reduce(([a, b], [n, r]) => [a + n, b + r], [0, 0]);
  own.curve.push([own.learned, own.right / own.learned, last[1] / last[0]]);
}

function showRun(own) {
  if (performance.now() - drawn < 150 && own.rows) { setTimeout(() => { if (run === own) showRun(own); }, 200); return; }
  drawn = performance.now();
  const so = own.learned ? own.right / own.learned : null, lately = own.curve.at(-1)?.[2] ?? null;
  fill($("table-stats"), ...[[whole(own.learned), "rows learned"], [percent(so), "right so far"], [percent(lately), "right lately"], [whole(own.classes.size), "classes"]]
    .map(([value, title]) => h("div", { class: "stat" }, h("strong", {}, value), h("span", { class: "soft" }, title))));
  const thin = own.curve.filter((_, n) => n % Math.ceil(own.curve.length / 150) === 0 || n === own.curve.length - 1);
  showLines($("table-chart"), [
    { name: "so far", kind: "accent", points: thin.map((it) => [it[0], it[1]]) },
    { name: "lately", kind: "plain", points: thin.map((it) => [it[0], it[2]]) },
  ], { label: `Right answers: ${percent(so)} so far, ${percent(lately)} lately`, xName: "rows",
    marks: [...own.classes].filter(([, x]) => x > own.rows / 50).slice(0, 40).map(([name, x]) => ({ x, text: `${name} appears` })) });
  fill($("table-classes"), ...[...own.classes].slice(0, 30).map(([name, row]) => h("li", {}, h("strong", {}, String(name)), h("span", { class: "soft" }, ` row ${whole(row)}`))));
  $("table-errors-part").hidden = !own.nErrors;
  const more = own.nErrors - own.errors.length;
  fill($("table-errors"), ...own.errors.map(([row, why]) => h("li", {}, h("strong", {}, `Row ${whole(row)}: `), why)), more > 0 ? h("li", { class: "soft" }, `and ${whole(more)} more`) : null);
}
