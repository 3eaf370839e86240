// A draft of policies: changed here, checked by the service while it is written, kept in this browser until it is saved.
import { asks } from "./dialogs.js";
import { h } from "./dom.js";
import { merge } from "./merge.js";
import { call, t, toast } from "./page.js";
import { showPicks } from "./picks.js";
import { KEPT_SHARE, called, policyForm } from "./policy_form.js";

const CHECK_AFTER_MS = 300;
const NEAR_EDGE = 150; // where a threshold's words go to its right
const data = JSON.parse(document.getElementById("draft-data").textContent);
const address = `/v1/policy-sets/${data.id}`;
const copyKey = `draft:${data.me}:${data.id}`;
const force = new Map(data.force.map((row) => [row.id, row]));
const $ = (id) => document.getElementById(id);
const copied = (value) => JSON.parse(JSON.stringify(value));

/** A `keep` that nobody chose goes along with `review`. */
function asUsual(rows) {
  for (const row of rows) if (Math.abs(row.keep - KEPT_SHARE * row.review) < 1e-9) row.keep = null;
}
asUsual(data.rows);
const draft = { rows: copied(data.rows), base: data.rows, seenAt: data.seen_at, at: 0 };
const told = { problems: [], changes: [], unscored: [], fresh: true };
const touched = new WeakMap();
let form = null, checking = null, timer = null, saving = false, strict = false, leaving = false;

/** Fills a part of the page. Each waits for itself alone: requests of one source stand in line. */
const load = (target, path, more = {}) => window.htmx.ajax(more.values ? "POST" : "GET", path, { target, source: target, swap: "innerHTML", ...more });
const dirty = () => JSON.stringify(draft.rows) !== JSON.stringify(draft.base);
const isNew = (row) => !force.has(row.id) && !draft.base.some((one) => one.id === row.id);

// What is wrong, and what is changed

/** What the service says, with its names of fields as the form calls them. */
const said = (problem) => problem.text.replace(/`(\w+)`/g, (_, name) => called(name));

function wrongOf(place) {
  const row = draft.rows[place], seen = touched.get(row);
  const mine = told.problems.filter((one) => one.place === place && (strict || !seen || seen.has(one.field)));
  return Object.fromEntries(mine.reverse().map((one) => [one.field ?? "title", said(one)]));
}

function beforeOf(row) {
  const was = force.get(row?.id);
  const fields = told.changes.filter((one) => was && one.policy === row.id && one.field in was).map((one) => one.field);
  return Object.fromEntries(fields.map((name) => [name, was[name]]));
}

function marks(row, place) {
  const found = [];
  if (Object.keys(wrongOf(place)).length) found.push([t("wrong"), "bad"]);
  if (!force.has(row.id)) found.push([t("new"), "accent"]);
  else if (told.changes.some((one) => one.policy === row.id)) found.push([t("changed"), "accent"]);
  if (!row.enabled) found.push([t("off"), ""]);
  return found;
}

function showAll() {
  const words = $("pick-find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = new Set(draft.rows.map((row) => row.id));
  const gone = data.force.filter((row) => !kept.has(row.id));
  showPicks($("picks"), { rows: draft.rows, gone, at: draft.at, words, marks, pick, back: putBack });
  form?.tell(wrongOf(draft.at), beforeOf(draft.rows[draft.at]));
  const wrong = told.problems.length;
  const parts = [dirty() ? t("Not saved yet.") : t("Saved.")];
  if (!told.fresh) parts.push(t("Checking …"));
  else if (wrong) parts.push(told.problems.every((one) => one.place === null) ? said(told.problems[0]) : t("{n} to put right.", { n: wrong }));
  else parts.push(differ(new Set(told.changes.map((one) => one.policy)).size));
  $("standing").textContent = parts.join(" ");
  $("standing").dataset.dirty = dirty();
}

const differ = (n) => (n === 1 ? t("One policy differs from what is in force.") : n ? t("{n} policies differ from what is in force.", { n }) : t("Nothing differs from what is in force."));

async function check() {
  checking?.abort();
  checking = new AbortController();
  try {
    const found = await call("POST", `/policy-sets/${data.id}/check`, { policies: draft.rows }, { signal: checking.signal });
    Object.assign(told, found, { changes: found.problems.length ? told.changes : found.changes, fresh: true });
  } catch (error) {
    if (error.name === "AbortError") return false;
    told.fresh = true;
    $("standing").textContent = error.message;
    return false;
  }
  showAll();
  return true;
}

function changed(name, { again = false } = {}) {
  touched.get(draft.rows[draft.at])?.add(name);
  told.fresh = false;
  keepCopy();
  if (again) show();
  else showAll();
  moveThresholds();
  clearTimeout(timer);
  timer = setTimeout(check, CHECK_AFTER_MS);
}

// One policy at a time

function pick(place, { focus = null } = {}) {
  draft.at = place;
  show();
  showScores();
  if (focus) form?.focus(focus);
}

function show() {
  const row = draft.rows[draft.at];
  form = null;
  if (!row) $("form").replaceChildren(h("p", { class: "empty" }, t("There is no policy in this draft.")));
  else {
    const saved = draft.base.some((one) => one.id === row.id);
    form = policyForm($("form"), row, {
      fresh: isNew(row) || touched.has(row), severities: data.severities, changed, remove: () => removeAt(draft.at),
      link: saved && row.id ? `/policies/${encodeURIComponent(row.id)}?set=${data.id}` : null,
    });
  }
  showAll();
}

function add() {
  const row = { id: "", title: "", blocked: "", allowed: null, severity: "medium", review: 0.5, block: "never", keep: null, at_least_s: 0, labels: {}, enabled: true };
  touched.set(row, new Set());
  draft.rows.push(row);
  pick(draft.rows.length - 1, { focus: "id" });
  changed("");
}

function removeAt(place) {
  const [row] = draft.rows.splice(place, 1);
  toast(t("{title} is removed; it can be put back below the list.", { title: row.title || row.id }));
  pick(Math.max(0, Math.min(place, draft.rows.length - 1)));
  changed("");
}

function putBack(row) {
  draft.rows.push(copied(row));
  pick(draft.rows.length - 1);
  changed("");
}

function showScores() {
  const row = draft.rows[draft.at];
  const place = $("scores");
  if (!row || !draft.base.some((one) => one.id === row.id)) {
    place.replaceChildren(h("p", { class: "quiet" }, t("Save the draft to see how videos score under it.")));
    return;
  }
  load("#scores", `/policies/${encodeURIComponent(row.id)}/histogram?set=${data.id}`);
}

function moveThresholds() {
  const chart = document.querySelector("#scores .histogram"), row = draft.rows[draft.at];
  if (!chart || !row) return;
  const [left, right] = [Number(chart.dataset.left), Number(chart.dataset.right)];
  for (const mark of chart.querySelectorAll("[data-threshold]")) {
    const name = mark.dataset.threshold, value = row[name];
    const there = typeof value === "number" && value >= 0 && value <= 1;
    mark.toggleAttribute("hidden", !there);
    if (!there) continue;
    const at = left + value * (right - left), text = mark.querySelector("text");
    mark.setAttribute("transform", `translate(${at} 0)`);
    text.setAttribute("x", at < NEAR_EDGE ? 6 : -6);
    text.setAttribute("text-anchor", at < NEAR_EDGE ? "start" : "end");
    text.textContent = name === "review" ? t("review {n}", { n: value }) : t("block {n}", { n: value });
  }
}

// Nothing is lost

function keepCopy() {
  try {
    if (dirty()) localStorage.setItem(copyKey, JSON.stringify({ rows: draft.rows, base: draft.base, seenAt: draft.seenAt }));
    else localStorage.removeItem(copyKey);
  } catch {
    // Without room for a copy, the warning before leaving is what is left.
  }
}

function notice(text, ...actions) {
  const node = h("div", { class: "notice row wrap spread", role: "status" }, h("p", {}, text),
    h("div", { class: "row close" }, actions.map(([name, act]) => h("button", { type: "button", class: "small", onclick: () => { node.remove(); act(); } }, name))));
  $("notices").replaceChildren(node);
}

function together(theirs, seenAt, base, mine) {
  const { rows, both } = merge(base, mine, theirs);
  Object.assign(draft, { rows, base: theirs, seenAt, at: Math.min(draft.at, Math.max(0, rows.length - 1)) });
  const names = both.map(([id, field]) => (field ? `${id}: ${called(field)}` : id)).join(", ");
  const text = both.length
    ? t("Somebody else changed this draft meanwhile. Both of you changed {names}: yours is kept here. Look at it and save again.", { names })
    : t("Somebody else changed this draft meanwhile. What both of you changed is here together: look at it and save again.");
  notice(text, [t("Throw mine away"), () => takeTheirs(theirs)], [t("Keep it"), () => {}]);
  pick(draft.at);
  changed("");
}

function takeTheirs(rows) {
  draft.rows = copied(rows);
  pick(Math.min(draft.at, Math.max(0, rows.length - 1)));
  changed("");
}

function restore() {
  let copy = null;
  try {
    copy = JSON.parse(localStorage.getItem(copyKey));
  } catch {
    return;
  }
  if (!copy) return;
  if (copy.seenAt !== draft.seenAt) together(data.rows, data.seen_at, copy.base, copy.rows);
  else {
    draft.rows = copy.rows;
    notice(t("What you changed and did not save is here again."), [t("Throw it away"), () => takeTheirs(draft.base)], [t("Keep it"), () => {}]);
  }
}

async function save() {
  if (saving) return false;
  saving = true;
  $("save").disabled = true;
  clearTimeout(timer);
  try {
    strict = true;
    if (!(await check())) return false;
    if (told.problems.length) return goTo(told.problems[0]);
    const sent = copied(draft.rows);
    const answer = await call("PATCH", address, { policies: sent, seen_at: draft.seenAt });
    Object.assign(draft, { base: sent, seenAt: answer.changed_at });
    keepCopy();
    strict = false;
    showAll();
    showScores();
    if (!dirty()) show();
    toast(t("Saved."), "good");
    return !dirty();
  } catch (refusal) {
    await refused(refusal);
    return false;
  } finally {
    saving = false;
    $("save").disabled = false;
  }
}

async function refused(refusal) {
  if (refusal.code !== "changed_meanwhile") {
    const ended = refusal.code === "not_a_draft" ? ` ${t("What you changed is kept in this browser.")}` : "";
    toast(refusal.message + ended, "bad");
    return;
  }
  const now = await call("GET", address);
  asUsual(now.policies);
  together(now.policies, now.changed_at ?? now.created_at, draft.base, draft.rows);
}

function goTo(problem) {
  if (problem.place !== null) pick(problem.place, { focus: problem.field ?? "title" });
  toast(said(problem), "bad");
  return false;
}

// Tried, put in force, discarded

async function tryIt() {
  strict = true;
  if (!(await check())) return;
  if (told.problems.length) {
    goTo(told.problems[0]);
    return;
  }
  const place = $("trial");
  place.replaceChildren(h("div", { class: "loading" }));
  place.setAttribute("aria-busy", "true");
  $("try").disabled = true;
  const values = { policies: JSON.stringify(draft.rows), days: $("trial-days").value };
  try {
    await load("#trial", `/policy-sets/${data.id}/what-if`, { values });
  } finally {
    place.setAttribute("aria-busy", "false");
    $("try").disabled = false;
  }
}

const openActivating = asks($("activating"), async (said) => {
  const seen = $("activating-changes").querySelector("[data-seen-at]").dataset.seenAt;
  await call("POST", `${address}/activate`, { reason: said.get("reason"), seen_at: seen });
  leaving = true;
  location.assign("/policies");
});
const openDiscarding = asks($("discarding"), async () => {
  await call("DELETE", address);
  localStorage.removeItem(copyKey);
  leaving = true;
  location.assign("/policies");
});

async function activate() {
  if (dirty() ? !(await save()) : told.problems.length && !goTo(told.problems[0])) return;
  $("activating-changes").replaceChildren();
  await load("#activating-changes", `/policy-sets/${data.id}/changes`);
  if ($("activating-changes").querySelector("[data-seen-at]")) openActivating();
}

$("pick-find").addEventListener("input", showAll);
$("add").addEventListener("click", add);
$("save").addEventListener("click", save);
$("try").addEventListener("click", tryIt);
$("activate").addEventListener("click", activate);
$("discard").addEventListener("click", openDiscarding);
document.addEventListener("keydown", (event) => {
  if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  save();
});
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "trial" || event.detail.xhr.status < 400) return;
  event.detail.shouldSwap = true;
  event.detail.isError = false;
});
document.addEventListener("htmx:afterSettle", moveThresholds);
addEventListener("beforeunload", (event) => {
  if (dirty() && !leaving) event.preventDefault();
});

// htmx is there once the document is: scripts of its kind run before modules.
restore();
pick(draft.at);
check();
