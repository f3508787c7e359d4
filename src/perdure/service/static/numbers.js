// How right the model has been, and how to use it from elsewhere.

import { get, getFile } from "./api.js";
import { hideLines, showLines } from "./chart.js";
import { $, bar, download, fill, h, percent, throttled, whole } from "./dom.js";

const MOST_POINTS = 1000;
const MOST_CLASSES = 60;
const WINDOW = 500; // examples that count as recent
let app, curves = new Map(), explained = null;

export function init(given) {
  app = given;
  $("save-numbers").addEventListener("click", saveNumbers);
  $("save-curve").addEventListener("click", () => {
    const rows = curve().map((it) => [it.counted, it.position, it.so, it.lately].map((value) => value ?? "").join(","));
    download(`${app.model.name}-curve.csv`, `counted,position,so_far,recent\n${rows.join("\n")}\n`, "text/csv");
  });
  $("save-model").addEventListener("click", async () => {
    try { download(`${app.model.name}.safetensors`, await getFile(`/v1/models/${app.model.name}/file`)); } catch (error) { app.fail(error); }
  });
  showLater = throttled(showNow, 200);
  showInsideLater = throttled(showExperts, 3000);
}

let showLater, showInsideLater;

export function show() { if (app.model) { showNow(); showSnippets(); showExperts(); } }
export const modelChanged = () => { if (app.part === "numbers") show(); };

export function update(state) {
  remember(state);
  if (app.part === "numbers") { showLater(); showInsideLater(); }
}

const KEY = (name) => `perdure-curve-${name}`;
const curve = () => {
  const name = app.model.name;
  if (!curves.has(name)) curves.set(name, JSON.parse(sessionStorage.getItem(KEY(name)) || "[]"));
  return curves.get(name);
};

const main = (state) => (state.metrics?.accuracy !== undefined ? "accuracy" : "mae");

/** Keep a point of the curve; of many, every second one. Kept in the tab, so that a reload loses none. */
function remember(state) {
  let points = curve();
  const last = points.at(-1);
  if (last && state.counted < last.counted) points = []; // the server began anew
  if (state.counted && state.counted !== last?.counted) points.push({ counted: state.counted, position: state.position, so: state.metrics[main(state)] ?? null, lately: state.recent });
  if (points.length > MOST_POINTS) points = points.filter((_, n) => n % 2 === 1);
  curves.set(app.model.name, points);
  sessionStorage.setItem(KEY(app.model.name), JSON.stringify(points));
}

function showNow() {
  const state = app.state ?? {};
  const numbers = main(state) === "mae" && state.metrics && "mae" in state.metrics;
  const shown = (value) => (value === null || value === undefined ? "–" : numbers ? value.toPrecision(3) : percent(value));
  const stats = [
    [shown(state.metrics?.[main(state)]), numbers ? "mean error so far" : "right so far"],
    state.counted > WINDOW ? [shown(state.recent), `${numbers ? "mean error" : "right"}, last ${WINDOW}`] : null,
    [whole(state.examples ?? 0), "examples known"],
    [(state.examples_per_second ?? 0).toLocaleString("en", { maximumFractionDigits: 1 }), "examples a second"],
    [whole(state.queue ?? 0), "waiting in the queue"],
    [whole(state.classes?.length ?? 0), "classes"],
  ];
  fill($("stats"), ...stats.filter(Boolean).map(([value, title]) => h("div", { class: "stat" }, h("strong", {}, value), h("span", { class: "soft" }, title))));
  const points = curve(), drifts = state.drifts ?? [];
  $("curve-title").textContent = numbers ? "Mean error over time" : "Right answers over time";
  const top = numbers ? Math.max(1e-9, ...points.map((it) => Math.max(it.so ?? 0, it.lately ?? 0))) : 1;
  if (points.length > 1)
    showLines($("curve"), [
      { name: "so far", kind: "accent", points: points.map((it) => [it.counted, it.so]) },
      ...(points.at(-1).counted > WINDOW ? [{ name: `last ${WINDOW}`, kind: "plain", points: points.filter((it) => it.counted >= WINDOW).map((it) => [it.counted, it.lately]) }] : []),
    ], { label: `So far ${shown(state.metrics?.[main(state)])}, of the last ${WINDOW} ${shown(state.recent)}`, most: top,
      marks: drifts.map((it) => ({ x: counted(points, it), text: `errors changed after example ${it}`, kind: "drift" })).filter((it) => it.x !== null) });
  else { hideLines($("curve")); $("curve").append(h("p", { class: "soft" }, "Teach the model while this page is open, and a curve will grow here.")); }
  $("drifts").textContent = drifts.length ? `The errors changed after ${drifts.length === 1 ? "example" : "examples"} ${drifts.slice(-8).map(whole).join(", ")}: something in the stream may be different since.` : "";
  fill($("recall"), ...(state.recall?.length ? state.recall.slice(0, MOST_CLASSES).map((it) => bar(String(it.class), it.recall)) : [h("p", { class: "soft" }, numbers ? "Numbers have no classes." : "Nothing counted yet.")]),
    state.recall?.length > MOST_CLASSES ? h("p", { class: "soft" }, `and ${whole(state.recall.length - MOST_CLASSES)} more`) : null);
}

/** Return how many had been counted at a position; null if that was before the curve. */
function counted(points, position) {
  return points.find((it) => it.position >= position)?.counted ?? null;
}

async function showExperts() {
  if (!app.model || app.part !== "numbers") return;
  const name = app.model.name;
  $("experts-part").hidden = app.model.settings?.method !== "auto";
  if ($("experts-part").hidden) return;
  $("experts-note").textContent = "Several learn side by side; those that have been right lately are trusted more.";
  const found = await get(`/v1/models/${name}/inside`).catch(() => null);
  if (found && name === app.model.name) fill($("experts"), ...Object.entries(found.experts).sort((a, b) => b[1] - a[1]).map(([it, share], n) => bar(it, share, { best: n === 0 })));
}

async function saveNumbers() {
  try {
    const described = await get(`/v1/models/${app.model.name}`);
    download(`${app.model.name}-numbers.json`, JSON.stringify({ ...described, curve: curve() }, null, 2), "application/json");
  } catch (error) { app.fail(error); }
}

// --- from a program

async function showSnippets() {
  const model = app.model;
  const wanted = `${model.name}-${model.position}`;
  if (explained === wanted) return;
  const found = await get(`/v1/models/${model.name}/examples?limit=1`).catch(() => null);
  if (model.name !== app.model?.name) return;
  explained = found && wanted;
  const example = found?.examples[0], x = example?.x ?? { length: 750 }, y = example?.y ?? "work";
  const token = sessionStorage.getItem("perdure-token") ? " \\\n  -H 'Authorization: Bearer YOUR_TOKEN'" : "";
  const quoted = JSON.stringify({ x }).replaceAll("'", "'\\''");
  const ask = `curl ${location.origin}/v1/models/${model.name}/predict${token} \\\n  -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
  const learn = `curl ${location.origin}/v1/models/${model.name}/learn${token} \\\n  -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify({ x, y }).replaceAll("'", "'\\''")}'`;
  const row = inPython(x);
  const python = `import perdure\n\nmodel = perdure.Client("${location.origin}"${token ? ', "YOUR_TOKEN"' : ""}, model="${model.name}")\nmodel.learn_one(${row}, ${inPython(y)})\nprint(model.predict_one(${row}))`;
  fill($("snippets"), ...[["Ask, with curl", ask], ["Teach, with curl", learn], ["Python", python]].map(([title, text]) => h("div", { class: "snippet" },
    h("div", { class: "row head" }, h("h4", {}, title), h("button", { type: "button", class: "quiet", "aria-label": `Copy: ${title}`, onclick: (event) => copy(event.target, text) }, "Copy")),
    h("pre", { tabindex: "0", role: "region", "aria-label": title }, h("code", {}, text)))));
}

/** Return a value of JSON as Python writes it. */
function inPython(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(inPython).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, it]) => `${JSON.stringify(name)}: ${inPython(it)}`).join(", ")}}`;
  return JSON.stringify(value); // numbers, and texts: the escapes of JSON mean the same in Python
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  } catch { app.say("The browser does not let this page copy. Select the text instead.", { bad: true }); }
}
