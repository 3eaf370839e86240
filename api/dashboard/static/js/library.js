// The library's cards keep themselves current; jobs are cancelled and retried where they stand.
import { follow, goesOn } from "./follow.js";
import { call, t, toast } from "./page.js";

const htmx = window.htmx;
const watched = new Set();
let lastCard = null; // of a page that is about to get more

function watchAll() {
  for (const { id } of document.querySelectorAll(".clip[data-working]")) {
    if (watched.has(id)) continue;
    watched.add(id);
    follow(id, (video) => show(id, video));
  }
}

function show(id, video) {
  const card = document.getElementById(id);
  if (!video || !goesOn(video.state)) watched.delete(id);
  if (!video) card?.remove();
  else if (card?.dataset.state !== video.state) renew(id);
  else if (card.querySelector("progress")) card.querySelector("progress").value = video.progress.fraction;
}

/** The card of a video as it looks now, in the place of the old one, or before all others. */
async function renew(id) {
  const card = document.getElementById(id), list = document.getElementById("clips");
  const held = card?.contains(document.activeElement);
  if (card) await htmx.ajax("GET", `/library/cards/${id}`, { target: card, swap: "outerHTML" });
  else if (list?.dataset.all === "true") await htmx.ajax("GET", `/library/cards/${id}`, { target: list, swap: "afterbegin" });
  else if (!list && document.getElementById("clips-none")) await htmx.ajax("GET", "/library", { target: "#found", swap: "innerHTML" });
  if (held) document.getElementById(id)?.querySelector("a.name, button")?.focus();
}

async function act(button) {
  const card = button.closest(".clip");
  button.disabled = true;
  try {
    await call("POST", `/v1/videos/${card.id}/${button.dataset.do}`);
  } catch (refusal) {
    toast(refusal.message, "bad");
  }
  await renew(card.id);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) act(button);
});
document.addEventListener("video-changed", (event) => renew(event.detail));

document.addEventListener("change", (event) => {
  // a day begins where the reader is
  if (event.target.type !== "date" || !event.target.value) return;
  event.target.form.elements.zone.value = -new Date(`${event.target.value}T00:00`).getTimezoneOffset();
}, true);

document.addEventListener("htmx:beforeRequest", (event) => {
  lastCard = event.target.matches("[data-more]") ? document.querySelector(".clip:nth-last-of-type(2)") : null;
});
document.addEventListener("htmx:beforeSwap", (event) => {
  // why it did not work stands where the videos would
  if (event.detail.xhr.status >= 400 && event.detail.target.id === "found") event.detail.shouldSwap = true;
});
document.addEventListener("htmx:afterSettle", () => {
  watchAll();
  lastCard?.nextElementSibling?.querySelector("a.name")?.focus({ preventScroll: true });
  lastCard = null;
});
watchAll();
