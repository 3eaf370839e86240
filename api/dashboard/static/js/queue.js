// The queue keeps itself current, and Enter begins.
import { preferences } from "./page.js";

const renew = () => document.body.dispatchEvent(new Event("queue-changed"));
const stream = new EventSource("/queue/events");
let first = true;
stream.addEventListener("changed", () => {
  if (!first && !document.querySelector("dialog[open]")) setTimeout(renew, 1100); // counts are a second old at most
  first = false;
});
addEventListener("pagehide", () => stream.close());

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-save-view]")) document.getElementById("save-view").showModal();
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
});
document.addEventListener("keydown", (event) => {
  const busy = event.target.closest("input, select, textarea, button, a, summary, dialog");
  if (event.key === "Enter" && preferences.shortcuts && !busy) document.getElementById("start").requestSubmit();
});
document.addEventListener("change", (event) => {
  if (event.target.matches(".filters select, .filters input")) event.target.form.requestSubmit();
});
