// Helpers every component shares. Text reaches the page through text nodes only.

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const ICON_PATHS = {
  play: "M8 5.5v13l10.5-6.5z",
  pause: "M7.5 5.5h3v13h-3zM13.5 5.5h3v13h-3z",
  close: "M6 6l12 12M18 6L6 18",
  retry: "M4.5 12a7.5 7.5 0 1 0 2.4-5.5M4.5 4.5v4h4",
  copy: "M9 9h10v10H9zM5 15V5h10",
  down: "M12 4.5v11M7 11l5 5 5-5M5 19.5h14",
  back: "M14.5 6l-6 6 6 6",
  mic: "M12 4a2.8 2.8 0 0 1 2.8 2.8v4.4a2.8 2.8 0 0 1-5.6 0V6.8A2.8 2.8 0 0 1 12 4zM6 11.5a6 6 0 0 0 12 0M12 17.5V20.5",
  trash: "M5 7h14M9.5 7V4.5h5V7M7 7l.8 12.5h8.4L17 7",
  search: "M10.5 5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM15 15l4.5 4.5",
  check: "M5 12.5l4.5 4.5L19 7.5",
  upload: "M12 16V4.5M7 9.5l5-5 5 5M5 19.5h14",
  stop: "M7 7h10v10H7z",
};
const FILLED_ICONS = new Set(["play", "pause", "stop"]);

function icon(name, size = 20) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const filled = FILLED_ICONS.has(name);
  for (const [key, value] of Object.entries({
    viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true",
    fill: filled ? "currentColor" : "none", stroke: filled ? "none" : "currentColor",
    "stroke-width": 1.7, "stroke-linecap": "round", "stroke-linejoin": "round",
  })) svg.setAttribute(key, value);
  path.setAttribute("d", ICON_PATHS[name]);
  svg.append(path);
  return svg;
}

function words(strings, key, values = {}) {
  const text = strings[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

// 0:07, 12:34, 1:02:03
function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(rest).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

function decimal(value, language, digits = 1) {
  const format = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, format).format(value).replace("-", "\u2212");
}

function byteSize(bytes, language, strings) {
  const units = ["unit.bytes", "unit.kb", "unit.mb", "unit.gb"];
  let [value, index] = [bytes, 0];
  while (value >= 1000 && index < units.length - 1) { value /= 1024; index += 1; }
  const digits = index > 0 && value < 100 ? 1 : 0;
  return `${decimal(value, language, digits)}\u00a0${strings[units[index]]}`;
}

// Waiting times in the words one would say them in, never more precise than they are.
function roughly(seconds, strings, language) {
  if (seconds < 10) return strings["time.moments"];
  const [value, unit] = seconds < 90
    ? [Math.ceil(seconds / 10) * 10, "second"]
    : seconds < 5400 ? [Math.ceil(seconds / 60), "minute"] : [Math.ceil(seconds / 360) / 10, "hour"];
  const text = new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short" });
  return text.format(value).replace(/ /g, "\u00a0");
}

function moment(iso, language) {
  const then = new Date(iso);
  const today = new Date().toDateString() === then.toDateString();
  const day = today ? {} : { day: "numeric", month: "short" };
  const year = then.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  return then.toLocaleString(language, { ...day, ...year, hour: "numeric", minute: "2-digit" });
}

// Marks that turn the direction of writing or draw nothing: with them a name shows another one.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+/g;

function shownName(text) { return (text ?? "").replace(UNSEEN, " ").trim(); }

function nameOf(job) { return shownName(job.title) || shownName(job.filename); }

function backendRoot(backend) {
  if (backend.url) return backend.url.replace(/\/+$/, "");
  return `${location.protocol}//${location.hostname}:${backend.port}`;
}

// What went wrong and what to do, in the reader's language; the server's own words otherwise.
function explain(error, strings) {
  const title = strings[`error.${error.code}`] ?? error.message ?? strings["error.internal"];
  const hint = strings[`error.${error.code}.hint`] ?? error.hint ?? "";
  return { title, hint };
}

function notice(tone, title, hint, ...actions) {
  return h("div", { class: `notice ${tone}`, role: tone === "bad" ? "alert" : "status" },
    h("p", {}, h("strong", {}, title)),
    hint ? h("p", { class: "small" }, hint) : null,
    actions.length ? h("div", { class: "row", style: "margin-top:12px" }, actions) : null);
}

// The cookie of a visitor who has shown a key goes along, to whatever port the backend has.
function request(url, init = {}) { return fetch(url, { credentials: "include", ...init }); }

async function requestJson(url, init = {}) {
  const response = await requestFile(url, init);
  return response.status === 204 ? null : response.json();
}

// A good answer; whatever else comes is thrown as an error body of ours, `network` if none came.
async function requestFile(url, init = {}) {
  let response;
  try {
    response = await request(url, init);
  } catch {
    throw { code: "unavailable", network: true };
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  throw { code: "internal", ...body.error, status: response.status, retryAfter };
}

// One live object per mounted element: Streamlit calls a component again on every new `data`.
function attach(registry, parent, create, data, send) {
  let instance = registry.get(parent);
  if (!instance) {
    instance = create(parent, send);
    registry.set(parent, instance);
  }
  document.documentElement.lang = data.language;
  instance.update(data, send);
  return () => { registry.delete(parent); instance.destroy(); };
}
