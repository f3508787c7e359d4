// Figures as inline SVG.

import { h } from "./dom.js";

const HEIGHT = 230, LEFT = 48, BOTTOM = 26, TOP = 10, RIGHT = 14;

const short = (value) => (value >= 10_000 ? `${Math.round(value / 1000)}k` : value.toLocaleString("en"));

function ticks(most) {
  const rough = most / 4, size = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = Math.max(1, [1, 2, 5, 10].map((it) => it * size).find((it) => it >= rough));
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, n) => n * step);
}

const shown = new WeakMap();
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const last = shown.get(target);
    if (last && target.clientWidth && target.clientWidth !== last.width) showLines(target, ...last.given);
  }
});

/**
 * Show a figure of lines in a place, as wide as the place is, also when that changes.
 * series: {name, points: [[x, y], …], kind}; y are shares unless `most` is given; marks: {x, text}.
 */
export function showLines(place, series, { label, marks = [], most = 1, xName = "examples" }) {
  if (!shown.has(place)) resized.observe(place);
  shown.set(place, { width: place.clientWidth, given: [series, { label, marks, most, xName }] });
  const width = Math.max(place.clientWidth, 200);
  const end = Math.max(1, ...series.flatMap((it) => it.points.map((point) => point[0])));
  const x = (value) => LEFT + (value / end) * (width - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (Math.min(value, most) / most) * (HEIGHT - BOTTOM - TOP);
  const svg = h("svg:svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const value = share * most;
    svg.append(h("svg:line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    if (share * 2 === Math.round(share * 2))
      svg.append(h("svg:text", { class: "tick", x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, most === 1 ? `${100 * share}\u00a0%` : value.toPrecision(2)));
  }
  for (const value of ticks(end))
    svg.append(h("svg:text", { class: "tick", x: x(value), y: HEIGHT - 6, "text-anchor": value === 0 ? "start" : "middle" }, value === 0 ? `0 ${xName}` : short(value)));
  for (const mark of marks) {
    svg.append(h("svg:line", { class: `mark ${mark.kind ?? ""}`, x1: x(mark.x), x2: x(mark.x), y1: TOP, y2: HEIGHT - BOTTOM }, h("svg:title", {}, mark.text)));
  }
  const lines = distinct(series);
  for (const one of [...lines].reverse()) { // the first on top
    const points = one.points.filter((it) => it[1] !== null);
    if (!points.length) continue;
    svg.append(h("svg:polyline", { class: `line ${one.kind}`, points: points.map((it) => `${x(it[0]).toFixed(1)},${y(it[1]).toFixed(1)}`).join(" ") }));
    const [lastX, lastY] = points.at(-1);
    svg.append(h("svg:circle", { class: `dot ${one.kind}`, cx: x(lastX), cy: y(lastY), r: 3.5 }));
  }
  const names = h("p", { class: "legend" }, ...lines.map((it) => h("span", { class: `key ${it.kind}` }, it.name)));
  place.replaceChildren(h("figure", {}, svg, names));
}

/** Return lines in which those that would lie on one another are one, under all their names. */
function distinct(series) {
  const lines = new Map();
  for (const one of series) {
    const key = JSON.stringify(one.points), same = lines.get(key);
    if (same) same.name = `${same.name} and ${one.name}`;
    else lines.set(key, { ...one });
  }
  return [...lines.values()];
}

/** Take a figure away. */
export function hideLines(place) {
  shown.delete(place);
  resized.unobserve(place);
  place.replaceChildren();
}

/** Return a small figure of two lines over the whole of a race; the part in which the class is taught is shaded. */
export function multiple({ title, series, end, from, to, label }) {
  const width = 200, height = 92, top = 6, bottom = 6;
  const x = (value) => (value / end) * width;
  const y = (value) => height - bottom - value * (height - top - bottom);
  const svg = h("svg:svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, preserveAspectRatio: "none" });
  svg.append(h("svg:rect", { class: "taught", x: x(from), y: 0, width: x(to) - x(from), height }));
  for (const value of [0, 0.5, 1]) svg.append(h("svg:line", { class: "grid", x1: 0, x2: width, y1: y(value), y2: y(value) }));
  for (const one of series) {
    if (!one.points.length) continue;
    svg.append(h("svg:polyline", { class: `line ${one.kind}`, points: one.points.map((it) => `${x(it[0]).toFixed(1)},${y(it[1]).toFixed(1)}`).join(" ") }));
  }
  return h("figure", { class: "multiple" }, h("figcaption", {}, title, h("span", { class: "ends" }, ...series.map((it) => h("span", { class: `end ${it.kind}` }, it.text)))), svg);
}
