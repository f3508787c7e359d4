// Requests to the server: tokens, problems, waiting, and events as they come.

const KEY = "perdure-token";
const listeners = { connection: () => {}, token: null };

/** Something the server refuses, with what it says about it. */
export class Problem extends Error {
  constructor(status, body = {}) {
    super(body.detail || body.title || `The server answered ${status}.`);
    this.status = status;
    this.kind = String(body.type || "").split(":").pop();
    this.title = body.title || "";
    this.field = body.field || null;
  }
}

/** Say what to call when the server is lost and found again, and when it asks for a token. */
export function listen(changes) {
  Object.assign(listeners, changes);
}

const PASSING = [429, 503]; // a busy server, which wants to be asked again

const pause = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal?.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
});

function headers(extra = {}) {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}`, ...extra } : extra;
}

let asking = null;
async function askForToken(wrong) {
  asking ??= listeners.token(wrong).finally(() => { asking = null; });
  sessionStorage.setItem(KEY, await asking);
}

/** Send a request, and again where that helps; return what `read` makes of the response. */
async function send(method, path, { read = (it) => it, patience = 0, onWait = () => {}, ...options }) {
  for (let attempt = 0; ; attempt += 1) {
    let response, found;
    const used = sessionStorage.getItem(KEY);
    try {
      response = await fetch(path, { method, cache: "no-store", ...options, headers: headers(options.headers) });
      if (response.ok) found = await read(response);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      listeners.connection(false);
      if (attempt < patience) { onWait(); await pause(Math.min(500 * 2 ** attempt, 4000), options.signal); continue; }
      throw new Problem(0, { type: "offline", title: "No answer", detail: "The server does not answer. Is it still running?" });
    }
    listeners.connection(true);
    if (response.ok) return found;
    const problem = new Problem(response.status, await response.json().catch(() => ({})));
    if (response.status === 401) {
      if (used === sessionStorage.getItem(KEY)) await askForToken(Boolean(used));
      attempt = -1;
      continue;
    }
    const wait = Number(response.headers.get("Retry-After"));
    if (wait && PASSING.includes(response.status) && attempt < patience) { onWait(); await pause(1000 * Math.min(wait, 5), options.signal); continue; }
    throw problem;
  }
}

export async function call(method, path, body, { signal, patience = 2 } = {}) {
  const content = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return send(method, path, { ...content, signal, patience, read: (it) => it.json() });
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);

export async function getFile(path) {
  return send("GET", path, { patience: 1, read: (it) => it.blob() });
}

/**
 * Send lines of JSON; return the lines that answer. Each line has an id, so that sending again does no harm.
 * `onWait` is called whenever the server is busy or away, and asked again.
 */
export async function postLines(path, lines, { signal, onWait, patience = 60 } = {}) {
  const answers = [];
  for (let [attempt, sent] = [0, 0]; sent < lines.length; attempt += 1) {
    const body = `${lines.slice(sent).map((it) => JSON.stringify(it)).join("\n")}\n`;
    const text = await send("POST", path, { body, headers: { "Content-Type": "application/x-ndjson" }, signal, patience, onWait, read: (it) => it.text() });
    const found = text.split("\n").filter(Boolean).map((it) => JSON.parse(it));
    const problem = found.at(-1)?.problem ? found.pop().problem : null;
    const before = sent;
    for (const it of found) answers.push({ ...it, refused: it.refused?.map((one) => ({ ...one, line: one.line + before })) });
    sent += found.at(-1)?.line ?? 0;
    if (!problem) return answers;
    if (!PASSING.includes(problem.status) || attempt >= patience) throw new Problem(problem.status, problem);
    onWait?.();
    await pause(1000, signal);
  }
  return answers;
}

/** Call a function with each state of a model as it changes, for as long as the returned function is not called. */
export function watch(path, onState, onGone) {
  const stop = new AbortController();
  (async () => {
    for (let wait = 500; !stop.signal.aborted; wait = Math.min(2 * wait, 5000)) {
      try {
        const response = await send("GET", path, { signal: stop.signal });
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        for (let part = await reader.read(); !part.done; part = await reader.read()) {
          wait = 500;
          const events = (text + part.value).split("\n\n");
          text = events.pop();
          for (const event of events) {
            const data = event.split("\n").find((it) => it.startsWith("data: "));
            if (data && event.startsWith("event: state")) onState(JSON.parse(data.slice(6)));
          }
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error.status === 404) { onGone(); return; }
      }
      await pause(wait);
    }
  })();
  return () => stop.abort();
}
