// The tree of policies: found by words, with precisions filled in; and drafts made of what is there.
import { h, s } from "./dom.js";
import { call, preferences, t } from "./page.js";

const percent = (share) => `${Math.round(100 * share)} %`;

function estimate(one) {
  const bar = s("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", width: 80, height: 8, "aria-hidden": "true" },
    s("rect", { class: "ground", width: 100, height: 8 }),
    s("rect", { class: "sure", x: 100 * one.low, width: Math.max(100 * (one.high - one.low), 1), height: 8 }));
  const sure = t("{low} to {high} · {n} decisions", { low: percent(one.low), high: percent(one.high), n: one.n });
  return h("span", { class: "estimate" }, h("strong", { class: "number" }, percent(one.value)), bar, h("span", { class: "quiet number" }, sure));
}

async function fillPrecisions() {
  const cells = [...document.querySelectorAll("[data-precision]")];
  if (!cells.length) return;
  let found = {};
  try {
    found = await call("GET", "/policies/precisions");
  } catch {
    // Nothing is known of them then, and the page says so.
  }
  for (const cell of cells) {
    const one = found[cell.dataset.precision];
    cell.replaceChildren(one ? estimate(one) : h("span", { class: "quiet" }, "–"));
  }
}

function installFind() {
  const field = document.getElementById("find");
  const tree = document.getElementById("tree");
  const none = document.getElementById("none-found");
  if (!field) return;
  const show = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const body of tree.tBodies) {
      const rows = [...body.querySelectorAll("[data-words]")];
      for (const row of rows) row.hidden = !words.every((word) => row.dataset.words.includes(word));
      const shown = rows.filter((row) => !row.hidden).length;
      body.hidden = !shown;
      count += shown;
    }
    none.hidden = count > 0;
    tree.hidden = count === 0;
    document.getElementById("found").textContent = words.length ? t("{n} found", { n: count }) : "";
  };
  field.addEventListener("input", show);
  field.addEventListener("keydown", (event) => {
    const first = tree.querySelector("[data-words]:not([hidden]) a");
    if (event.key === "Enter" && field.value && first) first.click();
  });
  document.getElementById("find-all").addEventListener("click", () => {
    field.value = "";
    show();
    field.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || !preferences.shortcuts || event.target.closest("input, select, textarea, dialog")) return;
    event.preventDefault();
    field.focus();
  });
}

function installDrafts() {
  const dialog = document.getElementById("draft");
  if (!dialog) return;
  const form = dialog.querySelector("form");
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-draft]");
    if (!button) return;
    form.reset();
    form.elements.of.value = button.dataset.draft;
    dialog.querySelector("[data-of]").textContent = button.dataset.draftName;
    dialog.showModal();
    form.elements.name.focus();
  });
  form.addEventListener("submit", () => { form.querySelector("[type=submit]").disabled = true; });
  addEventListener("pageshow", () => { form.querySelector("[type=submit]").disabled = false; });
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
}

installFind();
installDrafts();
fillPrecisions();
