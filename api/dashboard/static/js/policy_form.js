// The form of one policy in a draft. It knows its fields and how they are shown; what is right, the service says.
import { h } from "./dom.js";
import { t } from "./page.js";

/** Of `review`: where `keep` is, unless somebody chose it. */
export const KEPT_SHARE = 0.8;
const CALLED = {
  id: () => t("Id"), title: () => t("Title"), severity: () => t("Severity"), blocked: () => t("Blocked"), allowed: () => t("Allowed"),
  review: () => t("Review from"), block: () => t("Block from"), keep: () => t("A flag goes on while"),
  at_least_s: () => t("A flag lasts at least, in seconds"), enabled: () => t("On"),
};
const SEVERITIES = { none: () => t("none"), low: () => t("low"), medium: () => t("medium"), high: () => t("high"), severe: () => t("severe") };

/** What a field is called, in the reader's language. */
export const called = (name) => CALLED[name]?.() ?? name;

/** A value as people read it. */
export function shown(name, value) {
  if (name === "severity") return SEVERITIES[value]?.() ?? String(value);
  if (name === "enabled") return value ? t("on") : t("off");
  if (name === "block" && value === "never") return t("never");
  return value === null || value === "" || value === undefined ? t("nothing") : String(value);
}

/** Fills `root` with the form of `row`. `changed(name)` is called after every change; returns { tell, focus }. */
export function policyForm(root, row, { fresh, severities, changed, remove, link }) {
  const nodes = {};
  let showKeep = null;
  const set = (name, value) => {
    row[name] = value;
    changed(name);
  };

  function field(name, controls, { whole = false } = {}) {
    const input = controls[0];
    input.id = `field-${name}`;
    for (const one of controls) one.setAttribute("aria-describedby", `wrong-${name}`);
    const wrong = h("p", { class: "wrong", id: `wrong-${name}`, "aria-live": "polite" });
    const was = h("p", { class: "was" });
    nodes[name] = { controls, wrong, was };
    const inside = controls.length > 1 ? h("div", { class: "pair" }, controls.map((one) => one.around ?? one)) : input;
    return h("div", { class: `field${whole ? " whole" : ""}` }, h("label", { for: input.id }, called(name)), inside, wrong, was);
  }

  function text(name, most, tall = false) {
    const node = h(tall ? "textarea" : "input", { maxlength: most, rows: tall ? 2 : null, autocomplete: "off", spellcheck: "true" });
    node.value = row[name] ?? "";
    node.addEventListener("input", () => set(name, name === "allowed" && !node.value.trim() ? null : node.value));
    return node;
  }

  /** A number, a slider in step with it, and for those that may go without a number, a box that says so. */
  function threshold(name, without, absent, usual) {
    const number = h("input", { type: "number", min: 0, max: 1, step: 0.01, inputmode: "decimal" });
    const slide = h("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": t("{name}, as a slider", { name: called(name) }) });
    const none = absent && h("input", { type: "checkbox" });
    const show = () => {
      const is = absent && (row[name] ?? null) === without;
      const value = is ? usual() : row[name];
      number.disabled = slide.disabled = Boolean(is);
      number.value = value === "" ? "" : String(Number(Number(value).toFixed(4)));
      slide.value = value ?? 0;
      if (none) none.checked = is;
    };
    number.addEventListener("input", () => {
      slide.value = number.value || 0;
      set(name, number.value === "" ? "" : Number(number.value));
    });
    slide.addEventListener("input", () => {
      number.value = slide.value;
      set(name, Number(slide.value));
    });
    none?.addEventListener("change", () => {
      set(name, none.checked ? without : usual());
      show();
    });
    if (none) none.around = h("label", { class: "switch small" }, none, h("span", {}, absent));
    show();
    if (name === "keep") showKeep = show;
    return none ? [number, slide, none] : [number, slide];
  }

  const question = h("p", { class: "question" });
  const say = () => {
    question.textContent = row.allowed
      ? t("Asked of every part of a video: does it show {blocked}? Not counted: {allowed}.", { blocked: row.blocked || "…", allowed: row.allowed })
      : t("Asked of every part of a video: does it show {blocked}?", { blocked: row.blocked || "…" });
  };
  const severity = h("select", {}, severities.map((one) => h("option", { value: one, selected: one === row.severity }, shown("severity", one))));
  severity.addEventListener("change", () => set("severity", severity.value));
  const enabled = h("input", { type: "checkbox" });
  enabled.checked = row.enabled;
  enabled.addEventListener("change", () => set("enabled", enabled.checked));
  const lasts = h("input", { type: "number", min: 0, max: 3600, step: 0.1, inputmode: "decimal" });
  lasts.value = row.at_least_s;
  lasts.addEventListener("input", () => set("at_least_s", lasts.value === "" ? "" : Number(lasts.value)));
  const keepUsual = () => Number((KEPT_SHARE * (row.review ?? 0)).toFixed(4));

  root.replaceChildren(
    h("div", { class: "row wrap spread" },
      h("div", {}, h("h2", { id: "form-title" }, row.title || t("A new policy")), h("code", { class: "quiet", id: "form-id" }, row.id)),
      h("div", { class: "row close wrap" }, link && h("a", { class: "button small", href: link }, t("Its page, and backfills")), h("button", { type: "button", class: "small bad", onclick: remove }, t("Remove it")))),
    h("div", { class: "fields" },
      fresh && field("id", [text("id", 100)], { whole: true }),
      field("title", [text("title", 80)]),
      field("severity", [severity]),
      field("blocked", [text("blocked", 300, true)]),
      field("allowed", [text("allowed", 300, true)]),
      h("div", { class: "field whole" }, question),
      field("review", threshold("review"), { whole: true }),
      field("block", threshold("block", "never", t("never by itself"), () => Math.max(0.95, row.review ?? 0)), { whole: true }),
      field("keep", threshold("keep", null, t("as usual: 0.8 of review"), keepUsual), { whole: true }),
      field("at_least_s", [lasts]),
      field("enabled", [enabled])),
  );
  say();

  /** Shows what is wrong (by field), and what is in force where it differs. */
  function tell(wrong, before) {
    say();
    if (row.keep === null) showKeep();
    root.querySelector("#form-title").textContent = row.title || t("A new policy");
    root.querySelector("#form-id").textContent = row.id;
    for (const [name, { controls, wrong: problem, was }] of Object.entries(nodes)) {
      problem.textContent = wrong[name] ?? "";
      for (const one of controls) one.toggleAttribute("aria-invalid", false);
      if (wrong[name]) for (const one of controls) one.setAttribute("aria-invalid", "true");
      was.replaceChildren();
      if (name in before) {
        const back = () => {
          row[name] = before[name];
          changed(name, { again: true });
        };
        was.append(t("in force: {value}", { value: shown(name, before[name]) }), h("button", { type: "button", class: "plain small", onclick: back }, t("Put back")));
      }
    }
  }

  return { tell, focus: (name) => nodes[name]?.controls[0].focus() };
}
