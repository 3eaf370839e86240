// Operations keeps itself current: asked again every few seconds while somebody looks, unless they pause it.
import { t } from "./page.js";

const EVERY_MS = 5000;
const live = document.getElementById("live");
const pause = document.getElementById("pause");
const away = document.getElementById("away");
const freshness = document.getElementById("freshness");
const spoken = document.getElementById("spoken");
let paused = false;
let told = live.querySelector("#verdict").dataset.said;

function ask() {
  if (!paused && !document.hidden) document.body.dispatchEvent(new Event("operations-tick"));
}

/** What changed is spoken once, not with every look. */
function speak() {
  const verdict = live.querySelector("#verdict");
  if (!verdict || verdict.dataset.said === told) return;
  told = verdict.dataset.said;
  spoken.textContent = [...verdict.querySelectorAll("strong")].map((one) => one.textContent).join(" ");
}

function showState() {
  pause.setAttribute("aria-pressed", String(paused));
  freshness.textContent = paused ? t("Paused") : t("Live");
}

pause.addEventListener("click", () => {
  paused = !paused;
  showState();
  ask();
});
document.addEventListener("visibilitychange", ask);
live.addEventListener("htmx:afterSwap", () => {
  away.hidden = true;
  speak();
});
for (const failed of ["htmx:sendError", "htmx:responseError"]) {
  live.addEventListener(failed, (event) => {
    event.stopPropagation(); // a sentence that stays, not a message every few seconds
    away.hidden = false;
  });
}
setInterval(ask, EVERY_MS);
showState();
