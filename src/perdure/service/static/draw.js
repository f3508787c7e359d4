// Draw a symbol, see what the model thinks, and teach it a name.

import { get, post } from "./api.js";
import { $, bar, fill, h, quoted, several, throttled } from "./dom.js";
import { picture, pictureIn, rowOf, SIDE, thumbnail, trace } from "./ink.js";
import { isFor, labelNamed, offerModel } from "./models.js";

const KEY = "perdure-strokes";
const WIDTH = 0.034; // of the line on the sheet
const SHOWN = 5; // bars
const THUMBNAILS = 6; // of each name
const APART = 0.002; // points of a stroke, at least

const canvas = $("canvas"), context = canvas.getContext("2d");
let app, strokes = [], current = null, cursor = null, seen = null, asked = 0, shown = 0, asking = null, again = false;
let pending = null, position = -1;

export function init(given) {
  app = given;
  strokes = JSON.parse(sessionStorage.getItem(KEY) || "[]");
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", move);
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, end);
  canvas.addEventListener("keydown", onKey);
  canvas.addEventListener("blur", () => { canvas.classList.remove("by-hand"); liftPen(); cursor = null; paint(); });
  $("clear").addEventListener("click", () => { setStrokes([]); canvas.focus({ preventScroll: true }); });
  $("stroke-back").addEventListener("click", () => setStrokes(strokes.slice(0, -1)));
  $("name-form").addEventListener("submit", (event) => { event.preventDefault(); teach($("name").value.trim()); });
  $("name").addEventListener("input", () => { $("teach-note").textContent = "It is learned at once. You can undo it."; });
  new ResizeObserver(fit).observe($("sheet"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
}

export function show() { refresh(); }

export function modelChanged() { position = -1; refresh(); }

export function update(state) {
  if (state.position !== position || state.examples !== app.examplesShown) refresh();
}

/** Show what belongs to the model as it is now. */
function refresh() {
  if (!app.model || app.part !== "draw") return;
  const fits = isFor(app.model, "drawings");
  $("draw-body").hidden = !fits;
  offerModel($("draw-other"), app, "drawings", fits);
  if (!fits) { $("known-part").hidden = true; return; }
  position = app.state?.position ?? app.model.position ?? 0;
  app.examplesShown = app.state?.examples ?? app.model.examples;
  fit();
  predict();
  showKnown();
}

// --- drawing

function place(event) {
  const box = canvas.getBoundingClientRect();
  const inside = (value) => Math.max(0, Math.min(1, value));
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((it) => Math.round(1e4 * inside(it)) / 1e4);
}

function begin(event) {
  if (event.button > 0 || current) return;
  event.preventDefault();
  canvas.classList.add("by-hand"); // and shows no ring around it
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  current = { pointer: event.pointerId };
  strokes.push([place(event)]);
  changed();
}

function move(event) {
  if (current?.pointer !== event.pointerId) return;
  const stroke = strokes.at(-1);
  for (const it of (event.getCoalescedEvents?.() ?? [event]).map(place))
    if (Math.hypot(it[0] - stroke.at(-1)[0], it[1] - stroke.at(-1)[1]) >= APART) stroke.push(it);
  changed();
}

function end(event) {
  if (current?.pointer !== event.pointerId) return;
  current = null;
  performance.mark("stroke-end");
  changed(true);
}

function onKey(event) {
  canvas.classList.remove("by-hand");
  const step = event.shiftKey ? 0.1 : 0.025;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (event.key in moves) {
    cursor ??= [0.5, 0.5];
    cursor = cursor.map((it, n) => Math.max(0.03, Math.min(0.97, it + moves[event.key][n])));
    if (current?.keys) strokes.at(-1).push([...cursor]);
    changed(Boolean(current?.keys));
  } else if (event.key === " ") {
    cursor ??= [0.5, 0.5];
    if (current?.keys) liftPen();
    else { current = { keys: true }; strokes.push([[...cursor]]); app.speak("Pen down"); }
    changed(true);
  } else if (event.key === "Escape") { liftPen(); setStrokes([]); }
  else if (event.key === "Backspace") { liftPen(); setStrokes(strokes.slice(0, -1)); }
  else return;
  event.preventDefault();
}

function liftPen() {
  if (current?.keys) { current = null; app.speak("Pen up"); changed(true); }
}

function setStrokes(given) {
  strokes = given;
  current = null;
  changed(true);
}

const think = throttled(() => predict(), 80);

function changed(ended = false) {
  paint();
  if (!ended) { think(); return; }
  sessionStorage.setItem(KEY, JSON.stringify(strokes));
  predict();
}

function fit() {
  const side = Math.round($("sheet").clientWidth * Math.min(devicePixelRatio || 1, 2));
  if (side && canvas.width !== side) canvas.width = canvas.height = side;
  paint();
}

function paint() {
  const side = canvas.width, style = getComputedStyle(canvas);
  context.clearRect(0, 0, side, side);
  context.strokeStyle = style.color;
  trace(context, strokes.map((it) => it.map(([x, y]) => [x * side, y * side])), WIDTH * side);
  if (cursor) {
    context.beginPath();
    context.arc(cursor[0] * side, cursor[1] * side, 0.02 * side, 0, 7);
    context.lineWidth = 0.006 * side;
    context.strokeStyle = context.fillStyle = style.getPropertyValue("--accent");
    if (current?.keys) context.fill();
    context.stroke();
  }
  $("draw-hint").hidden = strokes.length > 0 || cursor !== null;
  $("clear").disabled = $("stroke-back").disabled = !strokes.length;
}

// --- what it thinks

/** Ask what the drawing is; one question at a time, the last one always. */
async function predict() {
  seen = picture(strokes);
  thumbnail(seen ?? new Uint8Array(SIDE * SIDE), SIDE, $("seen"));
  if (!seen || !app.model || app.model.state === "loading") { showBars(null); return; }
  if (asking) { again = true; return; }
  const own = (asked += 1), model = app.model;
  asking = post(`/v1/models/${model.name}/predict`, { x: rowOf(seen, model), feedback: false }, { patience: 0 });
  try {
    const answer = await asking;
    if (own > shown && model === app.model) { shown = own; showBars(answer); }
  } catch (error) {
    if (error.status !== 0) app.fail(error);
  } finally {
    asking = null;
    if (again) { again = false; predict(); }
  }
}

function showBars(answer) {
  const classes = answer?.classes ?? [];
  const best = classes.map((name, n) => [String(name), answer.probabilities[n]]).sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
  fill($("bars"), ...best.map(([name, share], n) => bar(name, share, { best: n === 0, onpress: () => teach(name), label: `${name}, ${Math.round(100 * share)} percent. Teach this drawing as ${name}` })));
  const known = app.model?.classes?.length ?? 0;
  $("bars-note").textContent =
    !seen ? (known ? "Draw, and see what it thinks." : "It knows nothing yet. Draw a symbol and give it a name.")
    : classes.length === 0 ? "It knows nothing yet. Give this drawing a name."
    : classes.length === 1 ? "It knows one name only, so it can only answer that. Teach it a second symbol."
    : "Is one of these right? Press it to teach it.";
  if (!current) $("bars-spoken").textContent = best.length && seen ? `It thinks: ${best[0][0]}, ${Math.round(100 * best[0][1])} percent` : "";
  if (!current && answer) {
    performance.mark("bars");
    if (performance.getEntriesByName("stroke-end").length) performance.measure("stroke-to-bars", "stroke-end", "bars");
    performance.clearMarks("stroke-end");
  }
}

// --- teaching

async function teach(name) {
  liftPen();
  const pixels = picture(strokes);
  if (!pixels) { $("teach-note").textContent = "Draw something first."; canvas.focus(); return; }
  if (!name) { $("teach-note").textContent = "Give it a name first."; $("name").focus(); return; }
  const drawing = JSON.stringify([app.model.name, name, strokes]);
  // Taught again after no answer came, a drawing has the id that it had, and is learned once.
  if (pending?.drawing !== drawing) pending = { drawing, id: `d-${crypto.getRandomValues(new Uint32Array(3)).join("-")}` };
  const { id } = pending, taught = [...strokes];
  $("teach").disabled = true;
  try {
    const model = await loadedModel();
    if (!model) { $("teach-note").textContent = "Another model is chosen now. Press Teach to teach it your drawing."; return; }
    const y = labelNamed(name.toWellFormed?.() ?? name, model.classes ?? []);
    const answer = await post(`/v1/models/${model.name}/learn`, { x: rowOf(pixels, model), y, id }, { patience: 5 });
    pending = null;
    $("name").value = name;
    strokes = strokes.filter((it) => !taught.includes(it)); // what was drawn meanwhile stays
    changed(true);
    await app.refresh();
    const before = answer.prediction === null ? "" : answer.prediction === y ? " It had guessed right." : ` It had guessed ${quoted(answer.prediction)}.`;
    app.say(`Learned as ${quoted(name)}.${before}`, { undo: () => undo(model, id, name) });
    $("teach-note").textContent = `Draw the next one. Press Teach to call it ${quoted(name)} too.`;
    refresh();
  } catch (error) {
    if (error.status === 0) $("teach-note").textContent = "The server does not answer. Your drawing is kept: press Teach again later.";
    app.fail(error);
  } finally { $("teach").disabled = false; }
}

/** Wait until the model at hand is loaded; return it, or null if another one is chosen meanwhile. */
async function loadedModel() {
  const { name } = app.model;
  while (app.model?.name === name && app.model.state === "loading") {
    $("teach-note").textContent = "The model is being loaded. Your drawing is taught as soon as it is.";
    await new Promise((done) => setTimeout(done, 200));
  }
  return app.model?.name === name && isFor(app.model, "drawings") ? app.model : null;
}

async function undo(model, id, name) {
  try {
    await post(`/v1/models/${model.name}/forget`, { ids: [id] });
    app.say(`Forgotten: the model is exactly what it was before ${quoted(name)}.`);
    await app.refresh();
    refresh();
  } catch (error) { app.fail(error); }
}

async function showKnown() {
  const model = app.model;
  const { examples } = await get(`/v1/models/${model.name}/examples?limit=300`).catch(() => ({ examples: [] }));
  if (model.name !== app.model?.name) return;
  const names = new Map();
  for (const it of examples) names.set(String(it.y), [...(names.get(String(it.y)) ?? []), it]);
  const all = examples.length < 300;
  fill($("known-names"), ...[...names.keys()].map((it) => h("option", { value: it })));
  $("known-part").hidden = !names.size;
  fill($("known"), ...[...names].map(([name, ones]) => h("li", { class: "tile" },
    h("div", { class: "thumbs" }, ...ones.slice(0, THUMBNAILS).map((it) => pictureIn(it.x)).filter(Boolean).map((it) => thumbnail(it))),
    h("div", { class: "tile-name" }, h("strong", { title: name, dir: "auto" }, name), h("span", { class: "soft" }, all ? several(ones.length, "drawing") : "")))));
}
