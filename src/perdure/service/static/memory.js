// The journal and the memory: look, correct, forget, go back in time, compare methods.

import { call, get, post } from "./api.js";
import { hideLines, showLines } from "./chart.js";
import { $, bar, fill, h, percent, quoted, seconds, several, throttled, whole } from "./dom.js";
import { pictureIn, thumbnail } from "./ink.js";
import { kindOf, labelNamed } from "./models.js";

const CHOSEN = ["online", "mer"]; // methods to compare, until others are chosen
const KINDS = ["accent", "plain", "third", "fourth", "fifth"];
let app, before = null, chosen = null, position = -1, job = null, heldBefore = null, placed = false, looks = 0, loads = 0, questioned = null;

export function init(given) {
  app = given;
  $("search-form").addEventListener("submit", (event) => { event.preventDefault(); load(); });
  $("search").addEventListener("input", () => { if (!$("search").value) load(); });
  $("older").addEventListener("click", () => load(before));
  $("undo").addEventListener("click", undo);
  $("memory-name").addEventListener("change", () => showHeld());
  $("held-more").addEventListener("click", () => showHeld(heldBefore));
  const look = throttled(lookBack, 250);
  $("past").addEventListener("input", () => { placed = true; showPlace(); look(); });
  $("backtest-form").addEventListener("submit", (event) => { event.preventDefault(); compare(); });
  $("backtest-stop").addEventListener("click", () => job && call("DELETE", `${path()}/backtest/${job}`).catch((error) => app.fail(error)));
}

const path = () => `/v1/models/${app.model.name}`;

export const show = () => reload();
const reloadLater = throttled(() => reload(), 1500);

export function modelChanged() {
  if (questioned !== app.model?.name) $("ask-dialog").close(); // which answers no
  $("memory-result").hidden = true;
  chosen = job = null;
  placed = false;
  $("memory-choice").hidden = true;
  fill($("backtest-methods"));
  fill($("backtest-result"));
  hideLines($("backtest-chart"));
  reload();
}

export function update(state) {
  if (app.part === "memory" && state.position !== position) reloadLater();
}

async function reload() {
  if (!app.model || app.part !== "memory") return;
  position = app.model.position ?? 0;
  $("undo").disabled = !app.model.examples;
  await load();
  $("past").max = app.model.position ?? 0;
  if (!placed) $("past").value = Math.floor((app.model.position ?? 0) / 2);
  showPlace();
  lookBack();
  showInside();
  showMethods();
}

// --- the journal

async function load(from = null) {
  const query = new URLSearchParams({ limit: 24 });
  const text = $("search").value.trim(), model = app.model, own = (loads += 1);
  if (text) query.set("text", text);
  if (from) query.set("before", from);
  try {
    const page = await get(`${path()}/examples?${query}`);
    if (own !== loads || model.name !== app.model?.name) return; // something else is wanted since
    before = page.before;
    const items = page.examples.map(item);
    if (from) $("journal").append(...items);
    else fill($("journal"), ...items);
    chosen ??= page.examples[0] ?? null;
    if (!from) showChosen();
    $("older").hidden = before === null;
    $("journal-count").textContent = several(app.model.examples ?? 0, "example");
    $("journal-empty").hidden = $("journal").childElementCount > 0;
    $("journal-empty").textContent = text ? "Nothing was found." : "Nothing has been learned yet.";
  } catch (error) { app.fail(error); }
}

/** Return an example as what can be seen of it: a picture, or its columns. */
function view(x) {
  const pixels = pictureIn(x);
  if (pixels) return thumbnail(pixels);
  const columns = Object.entries(x).filter(([, value]) => value !== null).slice(0, 6);
  return h("span", { class: "cells" }, ...columns.map(([name, value]) => h("span", {}, h("span", { class: "soft" }, `${name} `), typeof value === "number" ? String(Number(value.toPrecision(5))) : String(value).slice(0, 60))));
}

function item(example) {
  const named = `example ${example.position}, ${quoted(example.y)}`;
  const own = example.id !== null;
  const seen = view(example.x);
  return h("li", { "data-id": example.id ?? "", class: seen.tagName === "CANVAS" ? "drawn" : null },
    h("span", { class: "at" }, whole(example.position)), seen,
    h("strong", { class: "label", title: String(example.y), dir: "auto" }, String(example.y)),
    h("time", { class: "soft", datetime: new Date(1000 * example.learned_at).toISOString() }, when(example.learned_at)),
    h("span", { class: "acts" },
      h("button", { type: "button", class: "quiet", "aria-label": `Look back at ${named}`, onclick: () => { chosen = example; showChosen(); lookBack(); $("past").focus(); } }, "Look back"),
      own ? h("button", { type: "button", class: "quiet", "aria-label": `Give another name to ${named}`, onclick: () => relabel(example) }, "Rename") : null,
      own ? h("button", { type: "button", class: "quiet", "aria-label": `Forget ${named}`, onclick: () => forget(example) }, "Forget") : null));
}

function when(time) {
  const age = Date.now() / 1000 - time;
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  if (age < 60) return "just now";
  if (age < 3600) return format.format(-Math.round(age / 60), "minute");
  if (age < 86_400) return format.format(-Math.round(age / 3600), "hour");
  return new Date(1000 * time).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

// --- corrections

async function correct(action, told) {
  const { name } = app.model;
  try {
    const answer = await action();
    if (name !== app.model?.name) return; // and another one is shown
    $("memory-result").hidden = false;
    $("memory-result").textContent = told(answer);
    chosen = null;
    await app.refresh();
    await reload();
  } catch (error) { app.fail(error); }
}

const exact = (answer) => `The model is now exactly the one that never saw it, bit for bit. That took ${seconds(answer.seconds)}.${answer.erased ? "" : ` But mind: ${answer.detail}.`}`;

const undo = () => correct(() => post(`${path()}/undo`, undefined, { patience: 0 }), (answer) => (answer.forgot ? `${quoted(answer.forgot.y)} is forgotten. ${exact(answer)}` : "There is nothing to undo."));

async function forget(example) {
  const own = path();
  if (!(await ask("Forget this example?", `It is ${quoted(example.y)}, example ${example.position}. It is removed from the model and from the disk for good.`, "Forget it"))) return;
  await correct(() => post(`${own}/forget`, { ids: [example.id] }), (answer) => `${answer.erased ? "Forgotten for good" : "Forgotten"}. ${exact(answer)}`);
}

async function relabel(example) {
  const own = path();
  const name = await ask("What is it really?", "The model becomes the one that had learned it so.", "Correct it", String(example.y));
  if (!name || name === String(example.y)) return;
  const y = labelNamed(name, [example.y, ...(app.model.classes ?? [])]);
  await correct(() => post(`${own}/relabel`, { id: example.id, y }), (answer) => `It is ${quoted(name)} now, as if it had been learned so. That took ${seconds(answer.seconds)}.`);
}

/** Ask about the model at hand for a yes, or for a text if one is given to begin with; null if the answer is no. */
function ask(title, text, yes, value = null) {
  questioned = app.model.name;
  [$("ask-title").textContent, $("ask-text").textContent, $("ask-ok").textContent] = [title, text, yes];
  $("ask-field").hidden = value === null;
  $("ask-label").textContent = "Name";
  $("ask-value").value = value ?? "";
  $("ask-dialog").returnValue = "";
  $("ask-dialog").showModal();
  if (value !== null) $("ask-value").select();
  return new Promise((done) => {
    $("ask-ok").value = "yes";
    $("ask-dialog").onclose = () => done($("ask-dialog").returnValue === "yes" ? (value === null ? true : $("ask-value").value.trim()) : null);
  });
}

// --- back in time

function showPlace() { $("past-shown").textContent = `${whole($("past").value)} of ${whole($("past").max)}`; }

function showChosen() {
  $("past-part").hidden = !chosen;
  if (chosen) fill($("past-example"), h("div", { class: "chosen" }, view(chosen.x), h("span", {}, h("strong", { dir: "auto" }, quoted(chosen.y).slice(1, -1)), h("span", { class: "soft" }, ` example ${whole(chosen.position)}`))));
}

async function lookBack() {
  if (!chosen || !app.model) return;
  const body = { x: chosen.x, feedback: false }, own = (looks += 1);
  try {
    const [then, now] = await Promise.all([post(`${path()}/at/${$("past").value}/predict`, body), post(`${path()}/predict`, body)]);
    if (own !== looks) return; // the slider has been moved since
    showAnswer($("past-then"), then);
    showAnswer($("past-now"), now);
  } catch (error) { app.fail(error); }
}

function showAnswer(place, answer) {
  if (!answer.classes) { fill(place, h("p", { class: "big" }, answer.prediction === null ? "–" : String(answer.prediction))); return; }
  const best = answer.classes.map((name, n) => [String(name), answer.probabilities[n]]).sort((a, b) => b[1] - a[1]).slice(0, 4);
  fill(place, ...(best.length ? best.map(([name, share], n) => bar(name, share, { best: n === 0 })) : [h("p", { class: "soft" }, "It knew nothing yet.")]));
}

// --- the memory

async function showInside() {
  const name = app.model.name;
  const found = await get(`${path()}/inside`).catch(() => null);
  if (!found || name !== app.model.name) return;
  const memory = found.memory;
  $("inside-note").textContent = !memory && app.model.examples
    ? `The method “${found.method}” keeps no examples: what it learned from each is in its means or weights. The journal keeps them all.`
    : !memory ? "Nothing yet."
    : `${whole(memory.filled)} of at most ${whole(memory.size)} examples, which it goes through again as new ones come.`;
  const most = Math.max(1, ...(memory?.classes ?? []).map((it) => it.examples));
  fill($("inside"), ...(memory?.classes ?? []).filter((it) => it.class !== null).slice(0, 20).map((it) => bar(String(it.class), it.examples / most, { text: whole(it.examples) })));
  if (memory) await showHeld();
  else { fill($("held")); $("memory-choice").hidden = $("held-more").hidden = true; }
}

/** Show examples that the chosen memory holds, the newest first; of `auto`, each expert that replays has a memory. */
async function showHeld(from = null) {
  const name = app.model.name, wanted = $("memory-choice").hidden ? "" : $("memory-name").value;
  const query = new URLSearchParams({ limit: kindOf(app.model) === "drawings" ? 48 : 8 }); // of rows, each takes a line
  if (wanted) query.set("memory", wanted);
  if (from) query.set("before", from);
  const found = await get(`${path()}/memory?${query}`).catch(() => null);
  if (!found || name !== app.model.name) return;
  heldBefore = found.before;
  $("held-more").hidden = heldBefore === null;
  $("memory-choice").hidden = found.memories.length < 2;
  fill($("memory-name"), ...found.memories.map((it) => h("option", { value: it.name, selected: it.name === found.memory }, it.name)));
  if (found.memories.length > 1) {
    const own = found.memories.find((it) => it.name === found.memory);
    $("inside-note").textContent = `${whole(own.filled)} of at most ${whole(own.size)} examples, which this expert goes through again as new ones come.`;
    fill($("inside"));
  }
  const items = found.examples.map(held);
  if (from) $("held").append(...items);
  else fill($("held"), ...items);
  $("held").classList.toggle("rows", items.length > 0 && !items[0].querySelector("canvas"));
}

function held(example) {
  return h("li", {}, h("span", { class: "at" }, whole(example.position)), view(example.x), h("strong", { title: String(example.y), dir: "auto" }, String(example.y)));
}

// --- other methods

async function showMethods() {
  if ($("backtest-methods").childElementCount) return;
  const name = app.model.name;
  const found = await get(`${path()}/backtest`).catch(() => null);
  if (!found || name !== app.model.name) return;
  fill($("backtest-methods"), ...found.methods.map((it) => h("label", {}, h("input", { type: "checkbox", name: "method", value: it, checked: CHOSEN.includes(it) }), it)));
}

async function compare() {
  const methods = [...document.querySelectorAll("#backtest-methods input:checked")].map((it) => it.value);
  if (!methods.length) { fill($("backtest-result"), h("p", {}, "Choose at least one method.")); return; }
  try {
    const window = Math.max(1, Math.min(500, Math.floor((app.model.examples ?? 0) / 10)));
    job = (await post(`${path()}/backtest`, { methods, window }, { patience: 0 })).id;
    $("backtest-progress").hidden = $("backtest-stop").hidden = false;
    fill($("backtest-result"), h("p", { class: "soft" }, "Learning the history again…"));
    const own = job;
    let found;
    do {
      await new Promise((done) => setTimeout(done, 400));
      if (job !== own) return;
      found = await get(`${path()}/backtest/${own}`, { patience: 5 });
      $("backtest-progress").value = found.progress;
    } while (["waiting", "running"].includes(found.state));
    showComparison(found);
  } catch (error) { app.fail(error); } finally { $("backtest-progress").hidden = $("backtest-stop").hidden = true; }
}

function showComparison(found) {
  if (found.state !== "done") { fill($("backtest-result"), h("p", {}, found.error ?? "It was stopped.")); hideLines($("backtest-chart")); return; }
  const results = Object.entries(found.results);
  const main = "accuracy" in results[0][1].metrics ? "accuracy" : "mae";
  const sorted = results.sort((a, b) => (main === "mae" ? 1 : -1) * (a[1].metrics[main] - b[1].metrics[main]));
  const most = main === "accuracy" ? 1 : Math.max(1e-9, ...sorted.map((it) => it[1].metrics[main]));
  fill($("backtest-result"), h("p", {}, main === "accuracy" ? `Right answers before learning, over all ${whole(results[0][1].rows)} examples:` : "Mean absolute error, smaller is better:"),
    h("div", { class: "bars small" }, ...sorted.map(([name, it], n) => bar(name, it.metrics[main] / most, { best: n === 0, text: main === "accuracy" ? percent(it.metrics[main]) : it.metrics[main].toPrecision(3) }))));
  const series = sorted.slice(0, KINDS.length).map(([name, it], n) => ({ name, kind: KINDS[n], points: it.curve.rows.map((x, at) => [x, it.curve.values[at]]) }));
  const top = main === "accuracy" ? 1 : Math.max(1e-9, ...series.flatMap((it) => it.points.map((point) => point[1] ?? 0)));
  showLines($("backtest-chart"), series, { label: `Over the history: ${sorted.map(([name, it]) => `${name} ${it.metrics[main].toPrecision(2)}`).join(", ")}`, most: top });
}
