// Elements made of texts: whatever users write is put in as text, never as markup.

export const $ = (id) => document.getElementById(id);

/** Return an element; `props` are attributes, listeners as `onclick`, or `class`; children are elements or texts. */
export function h(tag, props = {}, ...children) {
  const [name, space] = tag.startsWith("svg:") ? [tag.slice(4), true] : [tag, false];
  const element = space ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((it) => it !== null && it !== undefined).map((it) => (it instanceof Node ? it : String(it))));
  return element;
}

export function fill(element, ...children) {
  element.replaceChildren(...children.filter((it) => it !== null && it !== undefined));
}

export const percent = (share) => (share === null || share === undefined ? "–" : `${Math.round(100 * share)}\u00a0%`);
export const whole = (number) => Math.round(number).toLocaleString("en");
export const several = (n, one, more = `${one}s`) => `${whole(n)} ${n === 1 ? one : more}`;

const LONGEST = 60;
const FROM_RIGHT = /[\u0590-\u08ff\ufb1d-\ufefc]/;

/** Return what a user has called something, to stand in a sentence: short, and apart from the direction around it. */
export function quoted(name) {
  const text = String(name), cut = [...text.slice(0, 4 * LONGEST)];
  const short = text.length > LONGEST && cut.length > LONGEST ? `${cut.slice(0, LONGEST).join("")}…` : text;
  return FROM_RIGHT.test(short) ? `“\u2068${short}\u2069”` : `“${short}”`;
}

export function seconds(value) {
  if (value < 0.001) return "less than a millisecond";
  return value < 1 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(1)} s`;
}

/** Return a bar with a name and a share; what it does when it is pressed, if anything. */
export function bar(name, share, { best = false, text = percent(share), onpress = null, label = null } = {}) {
  const inner = h("span", { class: "bar-fill" });
  inner.style.inlineSize = `${Math.max(0, Math.min(1, share || 0)) * 100}%`;
  const parts = [h("span", { class: "bar-name", title: name, dir: "auto" }, name), h("span", { class: "bar-track" }, inner), h("span", { class: "bar-value" }, text)];
  const kind = best ? "bar best" : "bar";
  return onpress ? h("button", { class: kind, type: "button", onclick: onpress, "aria-label": label }, ...parts) : h("div", { class: kind }, ...parts);
}

/** Let the user take a file. */
export function download(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Return a function that calls `action` at most once per `pause` milliseconds, and after the last call too. */
export function throttled(action, pause) {
  let timer = null, last = 0;
  return () => {
    if (timer) return;
    timer = setTimeout(() => { timer = null; last = performance.now(); action(); }, Math.max(0, last + pause - performance.now()));
  };
}
