// One policy: suggested thresholds, and the library scored under it.
import { asks } from "./dialogs.js";
import { call, t, toast } from "./page.js";

const { policy, set } = document.getElementById("policy").dataset;
const address = `/policies/${policy}`;
const asked = set ? `?set=${set}` : "";

/** A part of the page anew, whatever else is being asked for: requests of one source stand in line. */
const reload = (part, query = asked) => {
  const source = document.getElementById(part).parentElement;
  return window.htmx.ajax("GET", `${address}/${part}${query}`, { source, target: `#${part}`, swap: "outerHTML" });
};

function installWish() {
  const form = document.getElementById("wish");
  if (!form) return;
  const problem = document.getElementById("wish-problem");
  const button = form.querySelector("[type=submit]");
  form.elements.goal.addEventListener("change", () => {
    const queue = form.elements.goal.value === "queue";
    for (const label of form.querySelectorAll("[data-for]")) {
      label.hidden = (label.dataset.for === "queue") !== queue;
      for (const field of label.querySelectorAll("input")) field.disabled = label.hidden;
    }
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { goal, percent, videos, confidence } = form.elements;
    const value = goal.value === "queue" ? Number(videos.value) : Number(percent.value) / 100;
    const sure = goal.value !== "queue" && confidence.value ? Number(confidence.value) : null;
    button.disabled = true;
    problem.hidden = true;
    try {
      await call("POST", `/v1/policies/${policy}/threshold-proposals`, { goal: goal.value, value, confidence: sure });
      await reload("proposals", "");
      toast(t("A threshold is suggested below."), "good");
    } catch (refusal) {
      problem.textContent = refusal.message;
      problem.hidden = false;
    } finally {
      button.disabled = false;
    }
  });
}

function installSettle() {
  const dialog = document.getElementById("settle");
  if (!dialog) return;
  let chosen = null;
  const open = asks(dialog, async (data) => {
    await call("POST", `/v1/policies/${policy}/threshold-proposals/${chosen.id}/${chosen.settle}`, { reason: data.get("reason") });
    if (chosen.settle === "accept") location.reload();
    else await reload("proposals", "");
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-settle]");
    if (!button) return;
    chosen = button.dataset;
    const accept = chosen.settle === "accept";
    dialog.querySelector("h2").textContent = accept ? t("Accept this threshold") : t("Decline this threshold");
    dialog.querySelector("[type=submit]").textContent = accept ? t("Accept, and put in force") : t("Decline");
    dialog.querySelector(".said").textContent = chosen.promise;
    open();
  });
}

function installBackfill() {
  const dialog = document.getElementById("backfill");
  if (!dialog) return;
  const open = asks(dialog, async (data) => {
    const wanted = { apply: data.get("apply") === "on" };
    if (set) wanted.policy_set_id = set;
    if (data.get("days")) wanted.created_from = new Date(Date.now() - 86400e3 * Number(data.get("days"))).toISOString();
    await call("POST", `/v1/policies/${policy}/backfill`, wanted);
    await reload("backfills");
  });
  document.addEventListener("click", async (event) => {
    if (event.target.closest("[data-backfill]")) open();
    const button = event.target.closest("[data-cancel]");
    if (!button) return;
    button.disabled = true;
    try {
      await call("POST", `/v1/backfills/${button.dataset.cancel}/cancel`);
    } catch (refusal) {
      toast(refusal.message, "bad");
    }
    await reload("backfills");
  });
}

let running = document.querySelector("#backfills[hx-trigger]") !== null;
document.addEventListener("htmx:afterSettle", () => {
  const now = document.querySelector("#backfills[hx-trigger]") !== null;
  if (running && !now) reload("histogram");
  running = now;
});
installWish();
installSettle();
installBackfill();
