// Learn the rows of a CSV file: each is answered first, then learned.

import { Problem, postLines } from "./api.js";
import { showLines } from "./chart.js";
import { CsvError, CsvParser, areWhole, classOf, decimalOf, encodingOf, numberColumns, pieces, separatorOf, valueOf } from "./csv.js";
import { $, fill, h, percent, several, whole } from "./dom.js";
import { isFor, kindOf, offerModel, openCreate, safeName } from "./models.js";

const BEGINNING = 256 * 1024; // bytes by which a file is understood
const SAMPLE = 200; // rows by which columns are told apart
const BATCHES = { least: 16, most: 512, quick: 250, slow: 800 }; // rows of a request, and milliseconds that it should take
const LATELY = 250; // rows
const MANY = 20; // different numbers that are hardly names of classes
const SHOWN_ERRORS = 50;
const LABELS = ["class", "label", "target", "species", "y", "outcome"];
let app, table = null, run = null, drawn = 0;

export function init(given) {
  app = given;
  $("file").addEventListener("change", () => { if ($("file").files[0]) open($("file").files[0]); $("file").value = ""; });
  const drop = $("drop");
  drop.addEventListener("dragover", () => drop.classList.add("over"));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
  $("label").addEventListener("change", refresh);
  $("table-start").addEventListener("click", start);
  $("table-pause").addEventListener("click", pause);
  $("table-stop").addEventListener("click", () => { run.stopping.abort(); run.resume?.(); });
}

export const show = () => refresh();
export const modelChanged = () => refresh();

function refresh() {
  if (!app.model || app.part !== "table") return;
  const fits = isFor(app.model, "table");
  offerModel($("table-other"), app, "table", fits);
  const hint = table && !run && fits ? hintFor($("label").value) : null;
  $("table-hint").hidden = !hint;
  if (hint) fill($("table-hint"), h("span", {}, hint.text), h("button", { type: "button", onclick: () => create(hint.numbers) }, "Make a model for it"));
  $("table-start").disabled = !fits || app.model.state === "loading" || hint?.refused === true;
}

const create = (numbers) => openCreate(app, "table", safeName(table.file.name), numbers);

/** Tell whether a column looks like an amount, not like the names of classes. */
function isAmount(label) {
  const at = table.names.indexOf(label);
  const values = table.sample.map((row) => valueOf(row[at], true, table.decimal)).filter((it) => it !== null);
  return table.numeric[at] && (values.some((it) => !Number.isInteger(it)) || new Set(values).size > MANY);
}

/** Return what does not fit between the model and the file, if anything. */
function hintFor(label) {
  const { name, regression, columns = [] } = app.model, numbers = Boolean(regression);
  const others = table.names.filter((it) => it !== label);
  if (numbers && !table.numeric[table.names.indexOf(label)]) return { text: `“${label}” holds texts, and “${name}” predicts numbers.`, numbers: false, refused: true };
  if (!numbers && isAmount(label)) return { text: `“${label}” holds numbers, and “${name}” predicts classes: each number would be a class of its own.`, numbers: true };
  if (columns.length && others.filter((it) => columns.includes(it)).length < others.length / 2) return { text: `“${name}” has learned other columns: ${columns.slice(0, 4).join(", ")}${columns.length > 4 ? ", …" : "."}`, numbers };
  return null;
}

/** Return what a file is: its columns, its first rows, how it is written. */
async function understood(file) {
  const beginning = new Uint8Array(await file.slice(0, BEGINNING).arrayBuffer());
  const isWhole = beginning.length === file.size;
  const encoding = encodingOf(beginning, isWhole), text = new TextDecoder(encoding).decode(beginning);
  const separator = separatorOf(text), parser = new CsvParser(separator);
  const rows = parser.push(text);
  if (isWhole) rows.push(...parser.finish());
  const names = (rows[0] ?? []).map((it, n) => it.trim() || `column ${n + 1}`), sample = rows.slice(1, SAMPLE + 1);
  if (!sample.length) throw new CsvError("it has no rows. A table needs a line with the names of its columns, and rows below it.");
  if (names.length < 2) throw new CsvError("it has one column only. A table needs one to predict and others to predict it from.");
  const twice = names.find((it, n) => names.indexOf(it) !== n);
  if (twice) throw new CsvError(`two columns are called “${twice}”. Give each a name of its own.`);
  const decimal = decimalOf(separator, sample);
  return { file, encoding, separator, decimal, names, sample, numeric: numberColumns(names, sample, decimal) };
}

async function open(file) {
  if (run) return;
  try { table = await understood(file); } catch (error) {
    if (!(error instanceof CsvError || error instanceof DOMException)) throw error;
    app.say(`${file.name}: ${error instanceof CsvError ? error.message : "it cannot be read."}`, { bad: true });
    return;
  }
  const { names, numeric, sample } = table;
  $("table-body").hidden = false;
  $("drop").classList.add("small");
  $("table-figures").hidden = true;
  $("table-name").textContent = file.name;
  fill($("preview"), h("thead", {}, h("tr", {}, ...names.map((it, n) => h("th", { scope: "col" }, it, h("span", { class: "soft" }, numeric[n] ? "number" : "text"))))),
    h("tbody", {}, ...sample.slice(0, 5).map((row) => h("tr", {}, ...names.map((_, n) => h("td", {}, row[n] ?? ""))))));
  const guess = names.find((it) => LABELS.includes(it.toLowerCase())) ?? names.at(-1);
  fill($("label"), ...names.map((it) => h("option", { value: it, selected: it === guess }, it)));
  $("table-progress").value = 0;
  $("table-status").textContent = `${several(names.length, "column")}. Choose what is to be predicted.`;
  refresh();
  if (app.model && kindOf(app.model) === "drawings") create(isAmount(guess));
}

function pause() {
  if (!run) return;
  run.paused = !run.paused;
  $("table-pause").textContent = run.paused ? "Go on" : "Pause";
  if (!run.paused) run.resume?.();
}

async function start() {
  const numbers = Boolean(app.model.regression);
  const own = { label: $("label").value, path: `/v1/models/${app.model.name}/learn`, numbers, rows: 0, known: 0, learned: 0, good: 0, answered: 0,
    curve: [], recent: [], classes: new Map(), errors: [], nErrors: 0, batch: BATCHES.least, paused: false, stopping: new AbortController() };
  run = own;
  const busy = (now) => {
    for (const id of ["table-start", "drop", "table-hint"]) $(id).hidden = now;
    for (const id of ["table-pause", "table-stop"]) $(id).hidden = !now;
    $("label").disabled = now;
  };
  busy(true);
  $("table-pause").textContent = "Pause";
  $("table-figures").hidden = false;
  $("table-classes-part").hidden = numbers;
  $("table-chart-title").textContent = numbers ? "Mean error, before learning" : "Right answers, before learning";
  fill($("table-columns"), ...table.names.filter((it) => it !== own.label).map((it) => h("li", {}, it, h("span", { class: "soft" }, table.numeric[table.names.indexOf(it)] ? " number" : " text"))));
  try {
    await stream(own, await nameOf(table.file, own.label));
    const again = own.known ? ` ${several(own.known, "row")} had been learned before and were passed over.` : "";
    $("table-status").textContent = `Done: ${several(own.learned, "row")} learned.${again}`;
  } catch (error) {
    $("table-status").textContent = `Stopped after ${several(own.rows, "row")}. Learn the file again to go on: rows that are known are passed over.`;
    if (own.stopping.signal.aborted) { /* as was wanted */ }
    else if (error instanceof Problem) app.fail(error);
    else if (error instanceof CsvError || error instanceof DOMException) app.say(`${table.file.name}: ${error.message}`, { bad: true });
    else throw error;
  } finally {
    run = null;
    busy(false);
    showRun(own);
    app.refresh().then(refresh).catch((error) => app.fail(error));
  }
}

/** Return a short text that stands for bytes. FNV-1a: Fowler, Noll and Vo (1991). */
function hashOf(bytes) {
  let hash = 2166136261;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 16777619);
  return (hash >>> 0).toString(16);
}

/** Return a name for a file by its size and ends. */
async function nameOf(file, label) {
  const parts = new Blob([`${file.size} ${label}`, file.slice(0, 65_536), file.slice(-65_536)]);
  return `${safeName(file.name)}-${hashOf(new Uint8Array(await parts.arrayBuffer()))}`;
}

/** Return an id for a row of a file by its place and what it holds, so that a row that is sent twice is learned once. */
const idOf = (fileName, number, row) => `${fileName}:${number}-${hashOf(new TextEncoder().encode(JSON.stringify(row)))}`;

async function stream(own, fileName) {
  const { file, names, numeric, decimal } = table, parser = new CsvParser(table.separator), at = names.indexOf(own.label);
  const known = app.model.classes ?? [];
  const wholeClasses = known.length ? typeof known[0] === "number" : areWhole(table.sample.map((row) => row[at]));
  let waiting = [], first = true, numbered = 0;
  const send = async (bytes) => {
    while (own.paused && !own.stopping.signal.aborted) await new Promise((done) => { own.resume = done; });
    const sent = waiting.splice(0, own.batch), began = performance.now();
    let waited = false;
    count(own, sent, await postLines(own.path, sent.map((it) => it.example), { signal: own.stopping.signal, onWait: () => { waited = true; $("table-status").textContent = "The server is busy. Waiting…"; } }));
    const took = performance.now() - began;
    if (took > BATCHES.slow) own.batch = Math.max(BATCHES.least, own.batch / 2);
    else if (took < BATCHES.quick && !waited) own.batch = Math.min(BATCHES.most, own.batch * 2);
    $("table-progress").value = bytes / Math.max(file.size, 1);
    $("table-status").textContent = `${several(own.rows, "row")} so far…`;
    showRun(own);
  };
  const take = (rows) => {
    if (first && rows.length) { rows.shift(); first = false; }
    for (const row of rows) {
      numbered += 1;
      if (row.length !== names.length) { passOver(own, numbered, `it has ${several(row.length, "value")}, expected ${names.length}`); continue; }
      const y = own.numbers ? valueOf(row[at], true, decimal) : classOf(row[at], wholeClasses);
      if (y === null) { passOver(own, numbered, `it has no ${own.label}`); continue; }
      const x = Object.fromEntries(names.map((it, n) => [it, valueOf(row[n], numeric[n], decimal)]).filter((_, n) => n !== at));
      waiting.push({ number: numbered, example: { x, y, id: idOf(fileName, numbered, row) } });
    }
  };
  for await (const [text, bytes] of pieces(file, table.encoding)) {
    take(parser.push(text));
    while (waiting.length >= own.batch) await send(bytes);
  }
  take(parser.finish());
  while (waiting.length) await send(file.size);
  $("table-progress").value = 1;
}

function passOver(own, number, why) {
  own.nErrors += 1;
  if (own.errors.length < SHOWN_ERRORS) own.errors.push([number, why]);
}

function count(own, sent, answers) {
  if (!own.numbers) for (const it of sent) if (!own.classes.has(it.example.y)) own.classes.set(it.example.y, it.number);
  let [learned, good, of] = [0, 0, 0];
  for (const it of answers) {
    learned += it.learned;
    [good, of] = own.numbers ? [good + it.error, of + it.answered] : [good + it.right, of + it.learned];
    own.known += it.known;
    own.nErrors += it.n_refused ?? 0;
    for (const one of it.refused ?? []) if (own.errors.length < SHOWN_ERRORS) own.errors.push([sent[one.line - 1].number, one.detail.replace(/^line \d+(, | )/, "")]);
  }
  own.rows += sent.length;
  own.learned += learned;
  own.good += good;
  own.answered += of;
  if (!of) return;
  own.recent.push([of, good]);
  let [n, sum] = [0, 0];
  for (let place = own.recent.length - 1; place >= 0 && n < LATELY; place -= 1) [n, sum] = [n + own.recent[place][0], sum + own.recent[place][1]];
  own.curve.push([own.learned, own.good / own.answered, sum / n]);
}

function showRun(own) {
  if (performance.now() - drawn < 150 && run === own) { own.later ??= setTimeout(() => { own.later = null; showRun(own); }, 200); return; }
  drawn = performance.now();
  const so = own.answered ? own.good / own.answered : null, lately = own.curve.at(-1)?.[2] ?? null;
  const shown = (value) => (own.numbers ? (value === null ? "–" : String(Number(value.toPrecision(3)))) : percent(value));
  const stats = [[whole(own.learned), "rows learned"], [shown(so), own.numbers ? "mean error so far" : "right so far"], [shown(lately), own.numbers ? "mean error lately" : "right lately"]];
  if (!own.numbers) stats.push([whole(own.classes.size), own.classes.size === 1 ? "class" : "classes"]);
  fill($("table-stats"), ...stats.map(([value, title]) => h("div", { class: "stat" }, h("strong", {}, value), h("span", { class: "soft" }, title))));
  const thin = own.curve.filter((_, n) => n % Math.ceil(own.curve.length / 150) === 0 || n === own.curve.length - 1);
  showLines($("table-chart"), [
    { name: "so far", kind: "accent", points: thin.map((it) => [it[0], it[1]]) },
    { name: "lately", kind: "plain", points: thin.map((it) => [it[0], it[2]]) },
  ], { label: `${own.numbers ? "Mean error" : "Right answers"}: ${shown(so)} so far, ${shown(lately)} lately`, xName: "rows",
    most: own.numbers ? Math.max(1e-9, ...thin.flatMap((it) => [it[1], it[2]])) : 1,
    marks: [...own.classes].filter(([, x]) => x > own.rows / 50).slice(0, 40).map(([name, x]) => ({ x, text: `${name} appears` })) });
  fill($("table-classes"), ...[...own.classes].slice(0, 30).map(([name, row]) => h("li", {}, h("strong", {}, String(name)), h("span", { class: "soft" }, ` row ${whole(row)}`))),
    own.classes.size > 30 ? h("li", { class: "soft" }, `and ${whole(own.classes.size - 30)} more`) : null);
  $("table-errors-part").hidden = !own.nErrors;
  const more = own.nErrors - own.errors.length;
  fill($("table-errors"), ...[...own.errors].sort((a, b) => a[0] - b[0]).map(([row, why]) => h("li", {}, h("strong", {}, `Row ${whole(row)}: `), why)), more > 0 ? h("li", { class: "soft" }, `and ${whole(more)} more`) : null);
}
