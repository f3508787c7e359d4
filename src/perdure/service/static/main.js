// The frame: parts, the model at hand, what the server says, tokens.

import { get, listen, Problem, watch } from "./api.js";
import { $, fill, h } from "./dom.js";
import * as draw from "./draw.js";
import * as memory from "./memory.js";
import { initModels, listModels, openCreate } from "./models.js";
import * as numbers from "./numbers.js";
import * as race from "./race.js";
import * as table from "./table.js";

const PARTS = { draw, race, table, memory, numbers };
const KEY = "perdure-model";
let stopWatching = null, watched = null, toastTimer = null, loadTimer = null;

const app = {
  models: [],
  model: null,
  state: null,
  part: null,

  /** Say something for a while; `undo` is offered as a button. */
  say(text, { undo = null, bad = false } = {}) {
    clearTimeout(toastTimer);
    const close = () => $("toast").replaceChildren();
    fill($("toast"), h("div", { class: bad ? "message bad" : "message" }, h("span", {}, text),
      undo ? h("button", { type: "button", class: "quiet", onclick: () => { close(); undo(); } }, "Undo") : null,
      h("button", { type: "button", class: "quiet close", "aria-label": "Close", onclick: close }, "×")));
    toastTimer = setTimeout(close, bad || undo ? 12_000 : 6_000);
  },

  /** Say what went wrong; what is no problem of the server's is an error of this page. */
  fail(error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status !== 0) this.say(error.title && error.message !== error.title ? `${error.title}: ${error.message}` : error.message, { bad: true });
  },

  /** Say something to those who listen to the page. */
  speak(text) { $("bars-spoken").textContent = text; },

  /** Ask the server anew what models there are and what the one at hand is. */
  async refresh() {
    this.models = await listModels();
    const wanted = location.hash.split("/")[2] || sessionStorage.getItem(KEY);
    this.model = this.models.find((it) => it.name === wanted) ?? this.models[0] ?? null;
    if (this.model) sessionStorage.setItem(KEY, this.model.name);
    fill($("model"), ...this.models.map((it) => h("option", { value: it.name, selected: it === this.model }, it.name)));
    $("model").hidden = !this.models.length;
    showState();
    follow();
    clearTimeout(loadTimer);
    if (this.model?.state === "loading") loadTimer = setTimeout(start, 1000);
  },

  choose(name, part = this.part) {
    sessionStorage.setItem(KEY, name);
    location.hash = `#/${part}/${name}`;
  },
};

/** Follow the events of the model at hand. */
function follow() {
  if (watched === app.model?.name) return;
  stopWatching?.();
  watched = app.model?.name ?? null;
  app.state = null;
  stopWatching = watched && watch(`/v1/models/${watched}/events`, (state) => {
    if (state.name !== app.model?.name) return;
    app.state = state;
    // Only its description tells what rows it takes.
    if (app.model.state === "loading") { if (state.state !== "loading") start(); return; }
    Object.assign(app.model, { position: state.position, classes: state.classes ?? [], examples: state.examples, state: state.state, reason: state.reason });
    showState();
    for (const part of Object.values(PARTS)) part.update?.(state);
  }, start);
}

function showState() {
  const model = app.model, note = $("model-note");
  const text = model?.state === "read-only" ? `“${model.name}” can be asked, not taught: ${model.reason ?? "it is read-only"}`
    : model?.state === "loading" ? `“${model.name}” is being loaded…` : "";
  note.hidden = !text;
  note.textContent = text;
}

/** Show the part that the address names. */
function route(event) {
  const [, part, name] = location.hash.split("/");
  const wanted = part in PARTS ? part : "draw";
  const changed = wanted !== app.part;
  app.part = wanted;
  if (name && name !== app.model?.name && app.models.some((it) => it.name === name)) {
    app.refresh().then(() => { for (const it of Object.values(PARTS)) it.modelChanged?.(); }).catch((error) => app.fail(error));
  }
  const shown = app.model || wanted === "race" ? wanted : "welcome";
  for (const it of document.querySelectorAll("main > .part")) it.hidden = it.id !== shown;
  for (const it of document.querySelectorAll(".parts a")) {
    if (it.dataset.part === wanted) it.setAttribute("aria-current", "page");
    else it.removeAttribute("aria-current");
  }
  document.title = `${$(`${shown}-title`).textContent} · perdure`;
  if (!changed) return;
  for (const [key, it] of Object.entries(PARTS)) if (key !== wanted) it.hide?.();
  PARTS[wanted].show?.();
  if (event) { $("main").focus({ preventScroll: true }); scrollTo(0, 0); }
}

function askForToken(wrong) {
  $("token-error").textContent = wrong ? "This token is not valid. Try another one." : "";
  $("token").value = "";
  $("token-dialog").showModal();
  return new Promise((done) => {
    $("token-form").onsubmit = () => done($("token").value.trim());
    $("token-dialog").oncancel = (event) => event.preventDefault();
  });
}

let lost = false;
function onConnection(found) {
  if (found !== lost) return; // nothing has changed
  lost = !found;
  $("connection").hidden = found;
  $("connection").textContent = found ? "" : "The server does not answer. Trying again… Whatever it has acknowledged is safe.";
  if (found) start();
}

async function start() {
  try {
    await app.refresh();
    app.part = null;
    route();
    for (const it of Object.values(PARTS)) it.modelChanged?.();
  } catch (error) {
    app.fail(error);
    setTimeout(start, 1500);
  }
}

listen({ connection: onConnection, token: askForToken });
initModels();
for (const part of Object.values(PARTS)) part.init(app);
addEventListener("hashchange", route);
$("model").addEventListener("change", (event) => app.choose(event.target.value));
$("new-model").addEventListener("click", () => openCreate(app, app.part === "table" ? "table" : "drawings"));
for (const it of document.querySelectorAll(".choice")) it.addEventListener("click", () => openCreate(app, it.dataset.kind));
for (const it of document.querySelectorAll("dialog [data-close]")) it.addEventListener("click", () => it.closest("dialog").close());
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
for (const it of ["dragover", "drop"]) addEventListener(it, (event) => event.preventDefault()); // a file beside the place for it opens no page
get("/healthz", { patience: 5 }).catch(() => {}).then(start);
