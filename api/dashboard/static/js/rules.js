// Queues and settings: two forms over the API. What is wrong is said beside its field.
import { call, t, toast } from "./page.js";

const settings = document.getElementById("settings");
const dialog = document.getElementById("queue");
const form = dialog.querySelector("form");
const gone = document.getElementById("gone");
const queues = new Map(JSON.parse(document.getElementById("queues").textContent).map((one) => [one.name, one]));
const round = (value) => Number(value.toPrecision(12)); // 7 % is 0.07, not 0.07000000000000001
let changing = null; // the queue in the dialog; null: a new one

/** Says what is wrong with a field beside it; nothing wrong takes it away. */
function mark(field, text) {
  const said = document.getElementById(`${field.id}-wrong`);
  field.toggleAttribute("aria-invalid", Boolean(text));
  if (text) field.setAttribute("aria-invalid", "true");
  if (!said) return;
  said.textContent = text ?? "";
  said.hidden = !text;
}

/** What a browser finds wrong with a field, in the page's language. */
function wrongWith(field) {
  const { validity } = field;
  if (validity.valid) return null;
  if (validity.valueMissing || validity.badInput) return t("Something is missing here.");
  if (validity.rangeUnderflow || validity.rangeOverflow) return t("Between {least} and {most}.", { least: field.min, most: field.max });
  if (validity.stepMismatch) return t("A whole number.");
  if (validity.patternMismatch) return t("Only a–z, 0–9 and _, up to 40 of them.");
  return field.validationMessage;
}

/** Marks every field; whether all are right. The first wrong one gets the focus. */
function check(root) {
  const fields = [...root.querySelectorAll("input[id], select[id]")];
  for (const field of fields) mark(field, wrongWith(field));
  const wrong = fields.find((field) => field.getAttribute("aria-invalid") === "true");
  if (wrong) show(wrong);
  return !wrong;
}

/** The focus, and what is said below the field, in sight. */
function show(field) {
  field.focus({ preventScroll: true });
  field.closest(".tight").scrollIntoView({ block: "nearest" });
}

/** "score_from and score_to: ..." and "body.rule.share: ..." name their field first. */
function fieldOf(root, message) {
  const named = message.split(":")[0].split(/[^a-z_]+/).filter(Boolean);
  return named.map((name) => root.elements[name]).find((field) => field instanceof HTMLElement && field.id) ?? null;
}

/** Shows what the API refused: beside the field that it names, or else in `place`. */
function refuse(root, refusal, place) {
  const field = fieldOf(root, refusal.message);
  if (field) {
    mark(field, refusal.message);
    show(field);
  } else {
    place.textContent = refusal.message;
    place.hidden = false;
  }
}

settings.addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = document.getElementById("settings-said");
  said.textContent = "";
  if (!check(settings)) return;
  const changes = {};
  for (const field of settings.querySelectorAll("input")) {
    if (field.value !== field.defaultValue) changes[field.name] = round(field.valueAsNumber * Number(field.dataset.scale));
  }
  try {
    if (Object.keys(changes).length) await call("PATCH", "/v1/review/settings", changes);
    for (const field of settings.querySelectorAll("input")) field.defaultValue = field.value;
    said.textContent = t("Saved.");
  } catch (refusal) {
    refuse(settings, refusal, said);
  }
});
settings.addEventListener("input", (event) => {
  document.getElementById("settings-said").textContent = "";
  mark(event.target, null);
});

/** Puts a queue into the dialog, or empties it. */
function fill(queue) {
  form.reset();
  const rule = queue?.rule ?? {};
  form.elements.name.readOnly = queue !== null;
  if (queue) for (const name of ["name", "title", "position", "needs_role", "opinions"]) form.elements[name].value = queue[name];
  for (const name of ["score_from", "score_to"]) form.elements[name].value = rule[name] ?? "";
  form.elements.share.value = rule.share === undefined ? "" : round(100 * rule.share);
  form.elements.languages.value = (rule.languages ?? []).join(", ");
  for (const name of ["severities", "verdicts"]) {
    for (const box of form.querySelectorAll(`[name=${name}]`)) box.checked = (rule[name] ?? []).includes(box.value);
  }
  for (const option of form.elements.policies.options) option.selected = (rule.policies ?? []).includes(option.value);
  keepUnknown(rule.policies ?? []);
  for (const field of form.querySelectorAll("input[id], select[id]")) mark(field, null);
  document.getElementById("queue-problem").hidden = true;
}

/** A rule may name policies that are not in force: they stay in it. */
function keepUnknown(named) {
  const select = form.elements.policies;
  for (const added of select.querySelectorAll("[data-added]")) added.remove();
  const known = new Set([...select.options].map((option) => option.value));
  for (const name of named.filter((one) => !known.has(one))) {
    const option = new Option(name, name, true, true);
    option.dataset.added = "";
    select.add(option);
  }
}

function ruleOf() {
  const rule = {};
  for (const name of ["severities", "verdicts"]) {
    const chosen = [...form.querySelectorAll(`[name=${name}]:checked`)].map((box) => box.value);
    if (chosen.length) rule[name] = chosen;
  }
  const policies = [...form.elements.policies.selectedOptions].map((option) => option.value);
  if (policies.length) rule.policies = policies;
  const languages = form.elements.languages.value.split(/[\s,]+/).filter(Boolean);
  if (languages.length) rule.languages = languages;
  for (const name of ["score_from", "score_to"]) if (form.elements[name].value !== "") rule[name] = form.elements[name].valueAsNumber;
  if (form.elements.share.value !== "") rule.share = round(form.elements.share.valueAsNumber / 100);
  return rule;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = document.getElementById("queue-problem");
  problem.hidden = true;
  if (!check(form)) return;
  const { name, title, position, needs_role: role, opinions } = form.elements;
  const body = { title: title.value, rule: ruleOf(), needs_role: role.value, opinions: Number(opinions.value) };
  if (position.value !== "") body.position = position.valueAsNumber;
  try {
    if (changing) await call("PATCH", `/v1/review/queues/${changing}`, body);
    else await call("POST", "/v1/review/queues", { name: name.value, ...body });
    location.reload();
  } catch (refusal) {
    refuse(form, refusal, problem);
  }
});
form.addEventListener("input", (event) => event.target.id && mark(event.target, null));

gone.addEventListener("close", async () => {
  if (gone.returnValue !== "yes") return;
  try {
    await call("DELETE", `/v1/review/queues/${gone.dataset.queue}`);
    location.reload();
  } catch (refusal) {
    toast(t("It was not removed: {why}", { why: refusal.message }), "bad");
  }
});

document.addEventListener("click", (event) => {
  const change = event.target.closest("[data-change]"), remove = event.target.closest("[data-remove]");
  if (event.target.closest("[data-close]")) dialog.close();
  if (event.target.closest("#new-queue") || change) {
    changing = change?.dataset.change ?? null;
    fill(changing ? queues.get(changing) : null);
    document.getElementById("queue-title").textContent = changing ? t("Change the queue") : t("New queue");
    dialog.showModal();
  }
  if (remove) {
    document.getElementById("gone-queue").textContent = queues.get(remove.dataset.remove).title;
    gone.dataset.queue = remove.dataset.remove;
    gone.returnValue = "";
    gone.showModal();
  }
});
