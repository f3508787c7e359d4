// Two methods learn digits, one class after another: one forgets, the other does not.

import { call, get, post } from "./api.js";
import { $, fill, h, percent, whole } from "./dom.js";
import { multiple } from "./chart.js";
import { decoded, thumbnail } from "./ink.js";

const KEY = "perdure-race";
const NAMES = { online: "Online SGD", mer: "MER", er: "Experience replay", "averaged-er": "Averaged replay", "multi-timescale-mer": "Multi-timescale MER", auto: "Auto" };
const PAUSE = 120; // milliseconds between two steps
let app, race = null, history = [], playing = false, busy = false, loaded = false, film = [], turn = 0;

export function init(given) {
  app = given;
  $("race-play").addEventListener("click", () => (playing ? stop() : play()));
  $("race-step").addEventListener("click", async () => { stop(); await step(10); });
  $("race-again").addEventListener("click", begin);
  $("race-speed").addEventListener("input", showSpeed);
  for (const id of ["race-first", "race-second", "race-data"]) $(id).addEventListener("change", begin);
  showSpeed();
}

export async function show() {
  if (loaded) { showRace(); return; }
  try {
    const { data, methods } = await get("/v1/races");
    loaded = true;
    const options = () => methods.map((it) => h("option", { value: it }, name(it)));
    fill($("race-first"), ...options());
    fill($("race-second"), ...options());
    fill($("race-data"), ...Object.entries(data).map(([value, title]) => h("option", { value }, title)));
    $("race-first").value = "online";
    $("race-second").value = "mer";
    await restore();
  } catch (error) { app.fail(error); }
}

export const hide = () => stop();

const name = (method) => NAMES[method] ?? method;

function showSpeed() { $("race-speed-shown").textContent = `${$("race-speed").value} digits a second`; }

/** Go on with the race that was shown before the page was loaded anew, if the server still has it. */
async function restore() {
  const id = sessionStorage.getItem(KEY);
  if (id) {
    const found = await get(`/v1/races/${id}`).catch(() => null);
    if (found) {
      race = found;
      history = found.history;
      [$("race-first").value, $("race-second").value] = found.methods.map((it) => it.method);
      $("race-data").value = found.data;
    }
  }
  showRace();
}

const chosen = () => ({ methods: [$("race-first").value, $("race-second").value], data: $("race-data").value, seed: 0 });

/** Make a race of what is chosen, and end the one before; what is chosen meanwhile needs another one. */
async function make() {
  const old = sessionStorage.getItem(KEY);
  if (old) await call("DELETE", `/v1/races/${old}`).catch(() => {});
  const wanted = chosen();
  const made = await post("/v1/races", wanted);
  sessionStorage.setItem(KEY, made.id);
  if (JSON.stringify(wanted) !== JSON.stringify(chosen())) return;
  race = made;
  history = [];
  film = [];
}

async function begin() {
  stop();
  race = null;
  history = [];
  film = [];
  showRace();
  await play();
}

function stop() {
  playing = false;
  showButtons();
}

function showButtons() {
  const done = race !== null && race.position >= race.length;
  $("race-play").textContent = playing ? "Pause" : race?.position ? "Go on" : "Start";
  $("race-play").hidden = done;
  $("race-step").hidden = done;
  $("race-again").classList.toggle("main", done);
  $("race-again").disabled = !race?.position;
}

async function play() {
  playing = true;
  showButtons();
  const own = (turn += 1); // another call takes over from this one
  let owed = 0, last = performance.now();
  while (playing && own === turn) {
    const now = performance.now();
    owed += (Math.min(now - last, 1000) / 1000) * Number($("race-speed").value);
    last = now;
    if (owed >= 1) {
      const n = Math.min(Math.floor(owed), 100);
      owed = Math.min(owed - n, 100);
      if (!(await step(n))) break;
      if (race && race.position >= race.length) break;
    }
    await new Promise((done) => setTimeout(done, PAUSE));
  }
  if (own === turn) stop();
}

/** Let both learn the next digits; return whether that has worked. */
async function step(n) {
  if (busy) return true;
  busy = true;
  try {
    if (!race) await make();
    if (!race) return true;
    if (!history.length) $("race-now").textContent = "Getting both models ready; the first time this takes a while…";
    const wanted = race;
    const found = await post(`/v1/races/${race.id}/step`, { examples: n }, { patience: 1 });
    if (race !== wanted) return true;
    race = found;
    history.push({ position: race.position, accuracy: race.methods.map((it) => it.accuracy) });
    film = [...film, ...race.pictures].slice(-14);
    showRace();
    return true;
  } catch (error) {
    if (error.kind === "no-job") { race = null; sessionStorage.removeItem(KEY); app.say("The race has ended, for nobody has looked for a while. Start again."); }
    else app.fail(error);
    return false;
  } finally { busy = false; }
}

const NETWORKS = ["online", "mer", "er", "averaged-er", "multi-timescale-mer"];
const within = (it) => name(it.method).replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
const kinds = ["plain", "accent"];

function showRace() {
  const methods = race?.methods ?? chosen().methods.map((method) => ({ method, accuracy: Array(10).fill(null) }));
  const length = race?.length ?? 1, starts = race?.starts ?? [];
  const now = starts.findLastIndex((it) => it < (race?.position ?? 0));
  $("race-now").textContent = !race?.position ? "Press Start." : race.position >= length ? `All ${whole(length)} digits have been learned.` : `Now learning: ${now}`;
  fill($("race-pictures"), ...film.map((it) => thumbnail(decoded(it.pixels), race.side)));
  fill($("race-scores"), ...methods.map((it, n) => score(it, kinds[n], now)));
  fill($("race-charts"), ...Array.from({ length: 10 }, (_, digit) => {
    const series = methods.map((it, n) => ({
      kind: kinds[n],
      text: percent(it.accuracy[digit]),
      points: history.filter((at) => at.accuracy[n][digit] !== null).map((at) => [at.position, at.accuracy[n][digit]]),
    }));
    return multiple({
      title: String(digit), series, end: length,
      from: starts[digit] ?? 0, to: race ? (starts[digit + 1] ?? length) : 0,
      label: `Digit ${digit}: ${methods.map((it) => `${name(it.method)} ${it.accuracy[digit] === null ? "has not met it yet" : percent(it.accuracy[digit])}`).join(", ")}`,
    });
  }));
  const done = race && race.position >= race.length;
  const [first, second] = methods;
  $("race-end").textContent = done
    ? `Of the zeros, which came first, ${within(first)} gets ${percent(first.accuracy[0])} right, ${within(second)} ${percent(second.accuracy[0])}. ${methods.every((it) => NETWORKS.includes(it.method)) ? "Both are the same network; they" : "Both"} saw the same digits once, in the same order.`
    : "";
  showButtons();
}

function score(it, kind, now) {
  const met = it.accuracy.filter((share) => share !== null);
  const mean = met.length ? met.reduce((a, b) => a + b, 0) / met.length : null;
  return h("div", { class: `score card ${kind}` },
    h("h2", {}, name(it.method)),
    h("p", { class: "big" }, percent(mean)),
    h("p", { class: "soft" }, met.length ? `right, over ${met.length === 1 ? "the digit" : `the ${met.length} digits`} met so far` : "nothing learned yet"),
    h("p", { class: "soft" }, now >= 1 ? `of the zeros ${percent(it.accuracy[0])}` : "\u00a0"),
    h("p", { class: "soft" }, it.examples_per_second ? `${whole(it.examples_per_second)} digits a second` : "\u00a0"));
}
