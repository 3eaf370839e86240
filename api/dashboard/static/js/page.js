// What every page does: times in the reader's zone, and words in their language.
// Other scripts import `t`, `toast`, `call`, `clock`, `preferences` from here.

const frame = JSON.parse(document.getElementById("frame").textContent);

export const preferences = frame.preferences;

/** A text in the reader's language, with {name} replaced. */
export function t(text, values = {}) {
  return (frame.words[text] ?? text).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

const day = new Intl.DateTimeFormat(preferences.language, { dateStyle: "medium", timeStyle: "short" });
const ago = new Intl.RelativeTimeFormat(preferences.language, { numeric: "auto", style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** Shows every <time> in the reader's zone; those with data-ago say how long ago it was. */
export function showTimes(root = document) {
  for (const node of root.querySelectorAll("time[datetime]")) {
    const at = new Date(node.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    node.title = day.format(at);
    if (!("ago" in node.dataset)) {
      node.textContent = day.format(at);
      continue;
    }
    const seconds = (at - Date.now()) / 1000;
    const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
    node.textContent = ago.format(Math.trunc(seconds / length), unit);
  }
}

/** 83.4 -> "1:23". */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** A short message in the corner; it goes away by itself, unless it is bad news. */
export function toast(text, kind = "") {
  const node = document.createElement("p");
  node.className = `toast ${kind}`;
  node.textContent = text;
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), kind === "bad" ? 9000 : 4000);
  return node;
}

/** An idempotency key: what is sent again under it is done once. Not randomUUID: browsers only offer that over https. */
export const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Why something was refused: by its code where that says all, else as the service put it. */
export const whyNot = (code, detail) => frame.words[`problem:${code}`] ?? detail;

/** What the API refused, or why it could not be reached (`status` 0). */
export class Refusal extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Asks the API: JSON in, JSON out. Throws `Refusal`. Whoever is signed out goes to sign in, and comes back here. */
export async function call(method, path, body, { headers = {}, signal } = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, signal, credentials: "same-origin" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "offline", t("The service does not answer."));
  }
  if (answer.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  const document_ = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Refusal(answer.status, document_?.code ?? "error", whyNot(document_?.code, document_?.detail ?? answer.statusText));
  return document_;
}

document.querySelector("header nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
showTimes();
setInterval(showTimes, 30_000);
document.addEventListener("htmx:afterSwap", (event) => showTimes(event.target));
document.addEventListener("htmx:sendError", () => toast(t("The service does not answer."), "bad"));
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status !== 401) toast(t("This did not work."), "bad");
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
});
