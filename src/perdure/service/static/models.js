// Models: choosing one, making one, and which part of the page each is for.

import { get, post, Problem } from "./api.js";
import { $, fill, h } from "./dom.js";
const FEATURES = "omniglot-small-prototypes";

const DRAWING_METHODS = [
  ["nearest-mean", "Remembers the mean of each symbol: quick, good from one drawing on"],
  ["lda", "Also remembers how drawings vary: better with many"],
  ["mer", "A network with a memory (Meta-Experience Replay)"],
  ["online", "A network without a memory: it forgets"],
];
const TABLE_METHODS = [
  ["er", "A network with a memory: quick to start"],
  ["auto", "Eight learners at once, the best are trusted: takes a minute to start"],
  ["mer", "Meta-Experience Replay"],
  ["lda", "Linear, in closed form"],
  ["online", "A network without a memory: it forgets"],
];
const NUMBER_METHODS = TABLE_METHODS.map(([value, text]) => [value === "lda" ? "ridge" : value, text]);

/** Tell what a model learns from: "drawings", "table", or "new" while it may become either. */
export function kindOf(model) {
  if (model.features || model.columns?.includes("p783")) return "drawings";
  return model.columns?.length ? "table" : "new";
}

export const isFor = (model, kind) => [kind, "new"].includes(kindOf(model)) && !(kind === "drawings" && model.regression);

/** Return the label that a text names: one of those known, a number where they are numbers, or else the text. */
export function labelNamed(text, known) {
  const isNumber = typeof known[0] === "number" && Number.isFinite(Number(text));
  return known.find((it) => String(it) === text) ?? (isNumber ? Number(text) : text);
}

/** Where the model at hand does not fit, offer those that do, or a new one. */
export function offerModel(place, app, kind, fits) {
  place.hidden = fits;
  if (fits) return;
  const others = app.models.filter((it) => kindOf(it) === kind);
  const what = kind === "drawings" ? "drawings" : "tables";
  fill(place, h("span", {}, `“${app.model.name}” does not learn from ${what}. `),
    ...others.slice(0, 3).map((it) => h("button", { type: "button", onclick: () => app.choose(it.name) }, `Use ${it.name}`)),
    h("button", { type: "button", onclick: () => openCreate(app, kind) }, `Make one for ${what}`));
}

function free(name) {
  const taken = new Set(app.models.map((it) => it.name));
  let tried = name;
  for (let n = 2; taken.has(tried); n += 1) tried = `${name}-${n}`;
  return tried;
}

export function safeName(text) {
  return text.toLowerCase().replace(/\.[a-z]+$/, "").replace(/[^a-z0-9._-]+/g, "-").replace(/^[.-]+|-+$/g, "").slice(0, 50) || "table";
}

let app; // for which a model is made

/** Ask what to call a new model, and make it. */
export function openCreate(given, kind, suggested, numbers = false) {
  app = given;
  const dialog = $("create-dialog");
  for (const it of dialog.querySelectorAll("input[name=kind]")) it.checked = it.value === kind;
  for (const it of dialog.querySelectorAll("input[name=target]")) it.checked = it.value === (numbers ? "numbers" : "classes");
  showMethods();
  $("create-name").value = free(suggested ?? (kind === "drawings" ? "drawings" : "table"));
  $("create-error").textContent = "";
  dialog.showModal();
  $("create-name").select();
}

function showMethods() {
  const { kind, target } = $("create-form").elements;
  $("create-target").hidden = kind.value === "drawings";
  const methods = kind.value === "drawings" ? DRAWING_METHODS : target.value === "numbers" ? NUMBER_METHODS : TABLE_METHODS;
  fill($("create-method"), ...methods.map(([value]) => h("option", { value }, value)));
  const explain = () => { $("create-note").textContent = methods.find(([value]) => value === $("create-method").value)[1]; };
  $("create-method").onchange = explain;
  explain();
}

export function initModels() {
  for (const it of document.querySelectorAll("#create-dialog input[name=kind]"))
    it.addEventListener("change", () => {
      showMethods();
      $("create-name").value = free( it.value === "drawings" ? "drawings" : "table");
    });
  for (const it of document.querySelectorAll("#create-dialog input[name=target]")) it.addEventListener("change", showMethods);
  $("create-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { kind: { value: kind }, target } = event.target.elements;
    try {
      const made = await makeModel($("create-name").value.trim(), kind, $("create-method").value, target.value === "numbers");
      $("create-dialog").close();
      await app.refresh();
      app.choose(made.name, kind === "drawings" ? "draw" : "table");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      $("create-error").textContent = error.message;
    }
  });
}

async function makeModel(name, kind, method, numbers) {
  const settings = kind === "drawings" ? { method, standardize: false, features: FEATURES } : { method, regression: numbers };
  return post("/v1/models", { name, ...settings });
}

export const listModels = async () => (await get("/v1/models")).models;
